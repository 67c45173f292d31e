package reading

import "encoding/binary"

// history predicts the next value of a series over the rows of a batch: what the
// same meter had last, or the row before where that is its first.
type history struct {
	last  []int64 // by meter
	known []bool
	prior int64
}

func newHistory(meters int) *history {
	return &history{last: make([]int64, meters), known: make([]bool, meters)}
}

func (h *history) expect(meter int) int64 {
	if h.known[meter] {
		return h.last[meter]
	}
	return h.prior
}

func (h *history) note(meter int, v int64) {
	h.last[meter], h.known[meter], h.prior = v, true, v
}

// appendSeries appends values, of meters at the same places: the first as it is,
// the others as what they differ by from what is expected.
func appendSeries(dst []byte, values []int64, of []int, meters int) []byte {
	if len(values) == 0 {
		return dst
	}
	h := newHistory(meters)
	h.note(of[0], values[0])
	off := make([]uint64, 0, len(values))
	for i, v := range values[1:] {
		meter := of[i+1]
		off = append(off, zigzag(v-h.expect(meter)))
		h.note(meter, v)
	}
	return appendRice(binary.AppendVarint(dst, values[0]), off)
}

// series reads what appendSeries wrote.
func (d *decoder) series(of []int, meters int) []int64 {
	if len(of) == 0 || d.err != nil {
		return nil
	}
	h := newHistory(meters)
	values := append(make([]int64, 0, len(of)), d.varint())
	h.note(of[0], values[0])
	off := d.rice(len(of) - 1)
	for i, u := range off {
		v := h.expect(of[i+1]) + unzigzag(u)
		h.note(of[i+1], v)
		values = append(values, v)
	}
	return values
}
