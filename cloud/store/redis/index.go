package redis

import (
	"context"
	"fmt"
	"slices"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"gnomon/cloud/store"
)

// known remembers which things were entered in the index of late, so that a
// write usually needn't. What it forgets is entered again.
type known struct {
	young, old map[string]bool
	turned     time.Time
}

const (
	knownFor = 10 * time.Minute
	knownMax = 50_000 // things in either half, of each lane
)

func (k *known) has(thing string) bool { return k.young[thing] || k.old[thing] }

func (k *known) add(thing string) {
	if now := time.Now(); k.young == nil || len(k.young) >= knownMax || now.Sub(k.turned) > knownFor {
		k.young, k.old, k.turned = make(map[string]bool), k.young, now
	}
	k.young[thing] = true
}

// enter makes sure that the things of a group are in the index. It returns the
// changes whose things are; the others have failed.
func (s *committer) enter(ctx context.Context, group []*change) []*change {
	if now := time.Now(); now.Sub(s.known.turned) > knownFor {
		s.known.young, s.known.old, s.known.turned = nil, s.known.young, now
	}
	entries := make(map[string]*goredis.IntCmd)
	pipe := s.client.Pipeline()
	for _, c := range group {
		if entries[c.thing] == nil && c.writes() && !s.known.has(c.thing) {
			entries[c.thing] = pipe.ZAdd(ctx, s.keys.bucket(bucketOf(c.thing)), goredis.Z{Member: c.thing})
		}
	}
	if len(entries) == 0 {
		return group
	}
	if _, err := pipe.Exec(ctx); err != nil { // every command has its own
		s.judge(err)
		s.relocate(ctx)
	}
	var ok []*change
	for _, c := range group {
		if entry := entries[c.thing]; entry != nil {
			if err := entry.Err(); err != nil {
				c.err = fmt.Errorf("index: %w", err)
				continue
			}
			s.known.add(c.thing)
		}
		ok = append(ok, c)
	}
	return ok
}

// indexed returns names in the index, in order, beginning with from itself.
// There are some if there are any; more tells whether there are others after.
func (s *Store) indexed(ctx context.Context, from string, limit int) (names []string, more bool, err error) {
	chunk := int64(2*limit/buckets + 4) // of each bucket: they fill evenly
	pipe := s.client.Pipeline()
	parts := make([]*goredis.StringSliceCmd, buckets)
	for i := range parts {
		parts[i] = pipe.ZRangeArgs(ctx, lexRange(s.keys.bucket(i), from, chunk))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, false, err
	}
	horizon := ""
	for _, p := range parts {
		part := p.Val()
		names = append(names, part...)
		if n := len(part); int64(n) == chunk && (!more || part[n-1] < horizon) {
			horizon, more = part[n-1], true // beyond it this bucket is not known
		}
	}
	slices.Sort(names)
	if more {
		i, _ := slices.BinarySearch(names, horizon)
		names = names[:i+1]
	}
	return names, more, nil
}

func lexRange(key, from string, limit int64) goredis.ZRangeArgs {
	start := "-"
	if from != "" {
		start = "[" + from
	}
	return goredis.ZRangeArgs{Key: key, Start: start, Stop: "+", ByLex: true, Count: limit}
}

// Things implements store.Store.
func (s *Store) Things(ctx context.Context, from string, limit int) ([]string, error) {
	var out []string
	for len(out) < limit {
		names, more, err := s.indexed(ctx, from, limit)
		if err != nil {
			return nil, fmt.Errorf("things: %w", err)
		}
		pipe := s.client.Pipeline()
		classic := make([]*goredis.IntCmd, len(names))
		for i, name := range names {
			classic[i] = pipe.Exists(ctx, s.keys.record(store.Key{Thing: name}))
		}
		if len(names) > 0 {
			if _, err := pipe.Exec(ctx); err != nil {
				return nil, fmt.Errorf("things: %w", err)
			}
		}
		for i, name := range names {
			if classic[i].Val() > 0 && len(out) < limit {
				out = append(out, name)
			}
		}
		if !more {
			break
		}
		from = names[len(names)-1] + "\x00"
	}
	return out, nil
}

// Scan implements store.Store.
func (s *Store) Scan(ctx context.Context, from store.Key, limit int) ([]store.Record, error) {
	out, err := s.ScanThing(ctx, from, limit)
	if err != nil {
		return nil, err
	}
	next := from.Thing + "\x00"
	for len(out) < limit {
		names, more, err := s.indexed(ctx, next, limit-len(out))
		if err != nil {
			return nil, fmt.Errorf("scan: %w", err)
		}
		keys := make([]store.Key, len(names))
		for i, name := range names {
			keys[i].Thing = name
		}
		if out, err = s.gather(ctx, out, keys, limit); err != nil {
			return nil, err
		}
		if !more {
			break
		}
		next = names[len(names)-1] + "\x00"
	}
	return out, nil
}

// ScanThing implements store.ThingScanner.
func (s *Store) ScanThing(ctx context.Context, from store.Key, limit int) ([]store.Record, error) {
	return s.gather(ctx, nil, []store.Key{from}, limit)
}

// gather appends the records of things, each from a key on, until there are
// limit.
func (s *Store) gather(ctx context.Context, out []store.Record, from []store.Key, limit int) ([]store.Record, error) {
	if len(from) == 0 || len(out) >= limit {
		return out, nil
	}
	pipe := s.client.Pipeline()
	shadows := make([]*goredis.StringSliceCmd, len(from))
	for i, k := range from {
		shadows[i] = pipe.ZRangeArgs(ctx, lexRange(s.keys.names(k.Thing), k.Shadow, int64(limit-len(out))))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	var found []store.Key
	for i, k := range from {
		for _, shadow := range shadows[i].Val() {
			if len(found) < limit-len(out) {
				found = append(found, store.Key{Thing: k.Thing, Shadow: shadow})
			}
		}
	}
	if len(found) == 0 {
		return out, nil
	}
	pipe = s.client.Pipeline()
	values := make([]*goredis.StringCmd, len(found))
	for i, k := range found {
		values[i] = pipe.Get(ctx, s.keys.record(k))
	}
	if _, err := pipe.Exec(ctx); err != nil {
		return nil, fmt.Errorf("scan: %w", err)
	}
	for i, k := range found {
		v, err := values[i].Bytes()
		if err != nil || len(v) < headSize {
			return nil, fmt.Errorf("scan: %s/%s is not a record: %w", k.Thing, k.Shadow, err)
		}
		out = append(out, store.Record{Key: k, Data: v[headSize:]})
	}
	return out, nil
}
