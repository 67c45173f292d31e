package redis

import (
	"context"
	"errors"
	"strconv"
	"strings"

	"github.com/cespare/xxhash/v2"
	goredis "github.com/redis/go-redis/v9"

	"gnomon/cloud/store"
)

// buckets is how many parts the index of things has. It is part of the data
// format: a thing's bucket follows from its name.
const buckets = 64

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

// checkFormat refuses a store from a later version of Gnomon, and writes the
// format's number into a new one and into one of an older format: what is written
// from now on the older version would take for something else.
func (s *Store) checkFormat(ctx context.Context) error {
	key := s.keys.prefix + ":format"
	if err := s.client.SetNX(ctx, key, store.Format, 0).Err(); err != nil { //nolint:staticcheck // SET NX says the same in more words
		return err
	}
	value, err := s.client.Get(ctx, key).Result()
	if err != nil {
		return err
	}
	if err := store.CheckFormat(value); err != nil || value == strconv.Itoa(store.Format) {
		return err
	}
	return s.client.Set(ctx, key, store.Format, 0).Err()
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
