package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	goredis "github.com/redis/go-redis/v9"

	"gnomon/cloud/store"
)

// buckets is how many parts the index of things has. It is part of the data
// format: a thing's bucket follows from its name.
const buckets = 64

const dataFormat = 1

// keys makes the names of keys.
type keys struct{ prefix string }

// tagEscapes keeps a name from ending its own hash tag.
var tagEscapes = strings.NewReplacer("%", "%25", "}", "%7D")

func tag(thing string) string {
	if thing == "" {
		return "{%}" // an empty tag is none
	}
	return "{" + tagEscapes.Replace(thing) + "}"
}

// names is the key of the set of a thing's shadows.
func (k keys) names(thing string) string { return k.prefix + ":" + tag(thing) }

func (k keys) record(key store.Key) string {
	return k.prefix + ":" + tag(key.Thing) + ":" + key.Shadow
}

func (k keys) bucket(n int) string {
	return k.prefix + ":things:{idx:" + strconv.Itoa(n/10) + strconv.Itoa(n%10) + "}"
}

func bucketOf(thing string) int { return int(xxhash.Sum64String(thing) % buckets) }

// checkFormat writes the format's number into a new store and refuses one from
// a later version of Gnomon.
func (s *Store) checkFormat(ctx context.Context) error {
	key := s.keys.prefix + ":format"
	if err := s.client.SetNX(ctx, key, dataFormat, 0).Err(); err != nil { //nolint:staticcheck // SET NX says the same in more words
		return err
	}
	value, err := s.client.Get(ctx, key).Result()
	if err != nil {
		return err
	}
	if n, err := strconv.Atoi(value); err != nil || n > dataFormat {
		return fmt.Errorf("data format %s is newer than this gnomon reads (%d); run the version that wrote it, or a later one", value, dataFormat)
	}
	return nil
}

func field(info, name string) string {
	for line := range strings.Lines(info) {
		if value, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

// isReply tells an error that the server answered with: what it refused it
// didn't do. Any other error leaves open whether it did.
func isReply(err error) bool {
	var reply goredis.Error
	return errors.As(err, &reply) && !errors.Is(err, goredis.Nil)
}
