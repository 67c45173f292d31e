package redis

import (
	"crypto/sha1" //nolint:gosec // how Redis names scripts
	"encoding/hex"
)

// script is one that servers run, and know by the hash of its text.
type script struct{ text, hash string }

func newScript(text string) *script {
	sum := sha1.Sum([]byte(text)) //nolint:gosec // see above
	return &script{text, hex.EncodeToString(sum[:])}
}

// commitScript compares all records of a change set with their bases, and then
// writes all of them. KEYS are the records and, where one may be new, the set
// of the thing's shadows; ARGV the token and, for each record, base, value and
// shadow. It answers 1 when
// it has written, 2 when it had done so before, 0 when a base didn't match.
//
// Whoever loses reserves the record for 25 ms, in its head: a writer
// that has to read before it can write again would else lose forever to one that
// knows what it wrote last. Others, whose bases may well match, lose meanwhile.
// What it then writes, or finds that it needn't, ends the reservation.
//
// A change that it has written is known again by its token, so that it can be
// run once more when its answer was lost.
var commitScript = newScript(`
local token, held, fresh, mine = ARGV[1], {}, {}, {}
local n = (#ARGV - 1) / 3
local run = string.sub(token, 1, 8)
local function now()
  local t = redis.call('TIME')
  return t[1] * 1000 + math.floor(t[2] / 1000)
end
for i = 1, n do
  local key, base, value = KEYS[i], ARGV[i*3-1], ARGV[i*3]
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
for i = 1, n do
  local value = ARGV[i*3]
  if value ~= '' then
    redis.call('SET', KEYS[i], value)
    if fresh[i] then redis.call('ZADD', KEYS[n+1], 0, ARGV[i*3+1]) end
  elseif mine[i] then
    redis.call('SETRANGE', KEYS[i], 24, string.rep('\0', 24))
  end
end
return 1
`)

// plainScript does what nearly all change sets need, for many at a time: one
// record, which is there and is what it should be, replaced. KEYS are the
// records; ARGV has base and value of each. It answers which it left alone, by
// their numbers in KEYS: those are for commitScript. Whatever differs from the
// plain case leaves it alone, a record that is reserved, too.
//
// What a call costs is shared by its members, which is a third of what the
// server spends on a change.
var plainScript = newScript(`
local left, n, call, sub, byte = {}, 0, redis.pcall, string.sub, string.byte
for i = 1, #KEYS do
  local head = call('GETRANGE', KEYS[i], 0, 47)
  if type(head) == 'string' and sub(head, 1, 8) == ARGV[2*i-1] and byte(head, 48) == 0 then
    redis.call('SET', KEYS[i], ARGV[2*i])
  else
    n = n + 1
    left[n] = i
  end
end
return left
`)

// What commitScript answers when it has written nothing.
const answerConflict = 0
