package readings

import (
	"encoding/binary"
	"maps"
	"math"
	"slices"

	"gnomon/schema/reading"
)

// maxTimes bounds the times of one frame of kindDropped: it is to be far smaller than
// the segment that makes room. The latest are noted; others are read again.
const maxTimes = 4096

// remember notes the slots of a segment that is to be dropped while older ones are
// kept: after a restart the index is made of what is there, and they would be gaps. A
// slot is noted when a cycle read something in it; what else was missing in it is not
// read again after a restart. What was filled in later, and a slot of which nothing
// was read, are: nobody knows whether more of them is to be had. What the segment
// notes of others is handed on. It goes with the last segment.
func (s *Store) remember(seg *segment) {
	text, err := s.text(seg)
	if err != nil {
		return // it was said; its slots are read again
	}
	dropped := make(map[string][]int64)
	all, _, _ := framesOf(text)
	for _, f := range all {
		if policy, times, ok := f.droppedOf(); ok {
			dropped[policy] = append(dropped[policy], times...)
		} else if _, _, b, ok := decodeRows(f); ok {
			for i := range b.Rows {
				if r := &b.Rows[i]; r.Source == reading.Cycle && slices.ContainsFunc(r.Values, isGood) {
					dropped[b.Policy] = append(dropped[b.Policy], r.At.UnixMilli())
				}
			}
		}
	}
	last := s.segments[len(s.segments)-1]
	left := maxTimes
	for _, policy := range slices.Sorted(maps.Keys(dropped)) {
		times := dropped[policy]
		slices.Sort(times)
		times = slices.Compact(times)
		kept, _ := slices.BinarySearch(times, s.now().Add(-s.terms(policy).Keep).UnixMilli())
		times = times[max(kept, len(times)-left):]
		left -= len(times)
		if len(times) > 0 {
			last.mem = appendFrame(last.mem, kindDropped, droppedFrame(policy, times))
			last.coverTimes(policy, times)
		}
	}
}

func isGood(v reading.Value) bool { return v.State == reading.Good }

// coverTimes takes note of dropped times: they are kept for as long as rows are.
func (s *segment) coverTimes(policy string, times []int64) {
	at, known := s.spans[policy]
	if !known {
		at = span{math.MaxInt64, math.MinInt64}
	}
	s.spans[policy] = span{min(at.from, times[0]), max(at.to, times[len(times)-1])}
}

// dropped takes in times that rows were kept of.
func (x *index) dropped(policy string, times []int64) {
	p := x.policy(policy)
	for _, at := range times {
		x.slot(p, at).dropped = true
	}
}

// droppedFrame has a policy's name, the first time, and the steps to the others.
func droppedFrame(policy string, times []int64) []byte {
	payload := append(binary.AppendUvarint(nil, uint64(len(policy))), policy...)
	before := int64(0)
	for _, at := range times {
		payload = binary.AppendVarint(payload, at-before)
		before = at
	}
	return payload
}

// droppedOf reads a frame of kindDropped. Its times ascend.
func (f *frame) droppedOf() (policy string, times []int64, ok bool) {
	if f.kind != kindDropped {
		return "", nil, false
	}
	size, n := binary.Uvarint(f.payload)
	if n <= 0 || size > uint64(len(f.payload)-n) {
		return "", nil, false
	}
	policy = string(f.payload[n:][:size])
	at := int64(0)
	for rest := f.payload[n+int(size):]; len(rest) > 0; {
		step, n := binary.Varint(rest)
		if n <= 0 || len(times) == maxTimes || len(times) > 0 && (step <= 0 || at > math.MaxInt64-step) {
			return "", nil, false
		}
		at, rest = at+step, rest[n:]
		times = append(times, at)
	}
	return policy, times, len(times) > 0
}
