package redis

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
	goredis "github.com/redis/go-redis/v9"

	"gnomon/cloud/store"
)

// commitScript compares all records of a change set with their bases, and then
// writes all of them. KEYS are the set of the thing's shadows and the records;
// ARGV the token and, for each record, base, value and shadow. It answers 1 when
// it has written, 2 when it had done so before, 0 when a base didn't match.
//
// Whoever loses reserves the record for 25 ms, in its head: a writer
// that has to read before it can write again would else lose forever to one that
// knows what it wrote last. Others, whose bases may well match, lose meanwhile.
// What it then writes, or finds that it needn't, ends the reservation.
//
// It begins with the case that nearly all change sets are.
var commitScript = goredis.NewScript(`
if #KEYS == 2 and ARGV[3] ~= '' then
  local head = redis.call('GETRANGE', KEYS[2], 0, 47)
  if head ~= '' and string.sub(head, 1, 8) == ARGV[2] and string.byte(head, 48) == 0 then
    redis.call('SET', KEYS[2], ARGV[3])
    return 1
  end
end
local token, held, fresh, mine = ARGV[1], {}, {}, {}
local run = string.sub(token, 1, 8)
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
for i = 2, #KEYS do
  local key, base, value = KEYS[i], ARGV[i*3-4], ARGV[i*3-3]
  local head = held[key]
  if not head then
    head = redis.call('GETRANGE', key, 0, 47)
    if string.sub(head, 9, 24) == token then return 2 end
    if base ~= '' and head ~= '' then
      local match = base ~= '-' and string.sub(head, 1, 8) == base
      local free = string.byte(head, 48) == 0
      mine[i] = not free and string.sub(head, 25, 32) == run
      if not free and not mine[i] then
        free = tonumber(string.sub(head, 33, 48)) <= now()
        if not free then return 0 end
      end
      if not match then
        if free then redis.call('SETRANGE', key, 24, run .. string.format('%016.0f', now() + 25)) end
        return 0
      end
    end
  elseif base == '-' or base ~= '' and string.sub(head, 1, 8) ~= base then
    return 0
  end
  if head == '' and base ~= '' and base ~= '-' then return 0 end
  if value ~= '' then
    held[key] = string.sub(value, 1, 48)
    fresh[i] = head == ''
  end
end
for i = 2, #KEYS do
  local value = ARGV[i*3-3]
  if value ~= '' then
    redis.call('SET', KEYS[i], value)
    if fresh[i] then redis.call('ZADD', KEYS[1], 0, ARGV[i*3-2]) end
  elseif mine[i] then
    redis.call('SETRANGE', KEYS[i], 24, string.rep('\0', 24))
  end
end
return 1
`)

// What the script answers.
const answerConflict = 0

// change is a change set on its way to the server.
type change struct {
	thing   string
	hash    uint64         // of thing
	records []store.Record // without their data, which is in args
	sums    []store.Sum    // of the data
	keys    []string
	args    []any
	bytes   int
	done    func(error)

	// The committer's.
	reply   *goredis.Cmd
	written bool
	unsure  bool  // a script was sent and its answer lost: it may have run
	err     error // why it isn't known to be written
}

// prepare does on the caller's goroutine what the committer needn't.
func (s *Store) prepare(records []store.Record, done func(error)) *change {
	c := &change{done: done}
	if len(records) == 0 {
		return c
	}
	token := make([]byte, 0, tokenSize)
	token = append(token, s.run[:]...)
	token = binary.BigEndian.AppendUint64(token, s.last.Add(1))
	c.thing = records[0].Key.Thing
	c.hash = xxhash.Sum64String(c.thing)
	c.records = make([]store.Record, 0, len(records))
	c.sums = make([]store.Sum, 0, len(records))
	c.keys = append(make([]string, 0, len(records)+1), s.keys.names(c.thing))
	c.args = append(make([]any, 0, 3*len(records)+1), token)
	for _, r := range records {
		sum, v := store.None, []byte{}
		if r.Data != nil {
			sum = store.SumOf(r.Data)
			v = value(sum, token, r.Data)
		}
		c.bytes += len(v) + len(r.Key.Thing) + len(r.Key.Shadow) + 64
		c.keys = append(c.keys, s.keys.record(r.Key))
		c.args = append(c.args, baseArg(r.Base), v, r.Key.Shadow)
		c.sums = append(c.sums, sum)
		c.records = append(c.records, store.Record{Key: r.Key, Base: r.Base})
	}
	return c
}

func baseArg(base store.Sum) any {
	switch base {
	case store.Any:
		return ""
	case store.None:
		return "-"
	default:
		return binary.BigEndian.AppendUint64(nil, uint64(base))
	}
}

// writes tells whether the change set is more than a comparison.
func (c *change) writes() bool {
	for _, sum := range c.sums {
		if sum != store.None {
			return true
		}
	}
	return false
}
