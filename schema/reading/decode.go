package reading

import (
	"encoding/binary"
)

// Decode reads a batch, all of b. The error is ErrInvalid. Nothing of the batch
// refers to b.
func Decode(b []byte) (*Batch, error) {
	d, out, err := decodeStates(b)
	if err != nil {
		return nil, err
	}
	for i := range out.Items {
		d.column(out, i)
	}
	if len(d.rest) > 0 {
		d.fail("end")
	}
	if d.err != nil {
		return nil, d.err
	}
	if err := out.Check(); err != nil {
		return nil, err
	}
	return out, nil
}

// DecodeStates is Decode without numbers: those of good values are zero. It takes
// a fraction of the time, and doesn't look at what it leaves out.
func DecodeStates(b []byte) (*Batch, error) {
	_, out, err := decodeStates(b)
	if err == nil {
		err = out.Check()
	}
	if err != nil {
		return nil, err
	}
	return out, nil
}

func decodeStates(b []byte) (*decoder, *Batch, error) {
	if len(b) > MaxBytes {
		return nil, nil, invalid("%d bytes, must be %d at most", len(b), MaxBytes)
	}
	d := &decoder{rest: b}
	if v := d.byte(); v != version && d.err == nil {
		return nil, nil, invalid("format %d, this version reads %d", v, version)
	}
	out := d.header()
	d.places(out)
	d.arrivals(out)
	d.sources(out)
	d.states(out)
	return d, out, d.err
}

// decoder reads what is left. After an error it yields zeros and nothing.
type decoder struct {
	rest  []byte
	err   error
	of    []int    // place of each row's meter among all
	among int      // so many meters
	good  [2][]int // of rows with a good value of an item: place of the meter, and of the row
}

func (d *decoder) fail(part string) {
	if d.err == nil {
		d.err = invalid("%s: cut short, or out of bounds", part)
	}
	d.rest = nil
}

func (d *decoder) byte() byte {
	if len(d.rest) == 0 {
		d.fail("end")
		return 0
	}
	b := d.rest[0]
	d.rest = d.rest[1:]
	return b
}

func (d *decoder) uvarint() uint64 {
	u, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.fail("number")
		return 0
	}
	d.rest = d.rest[n:]
	return u
}

func (d *decoder) varint() int64 { return unzigzag(d.uvarint()) }

// count reads how many there are of something, at least one.
func (d *decoder) count(what string, most int) int {
	n := d.uvarint()
	if n < 1 || n > uint64(most) {
		d.fail(what)
		return 0
	}
	return int(n)
}

func (d *decoder) text(most int) string {
	n := d.uvarint()
	if n > uint64(most) || n > uint64(len(d.rest)) {
		d.fail("text")
		return ""
	}
	s := string(d.rest[:n])
	d.rest = d.rest[n:]
	return s
}

func (d *decoder) rice(n int) []uint64 {
	if n <= 0 || d.err != nil {
		return nil
	}
	k := uint(d.byte())
	if k > maxLow || n > 8*len(d.rest) {
		d.fail("numbers")
		return nil
	}
	r := bitReader{in: d.rest}
	all := make([]uint64, n)
	for i := range all {
		all[i] = r.rice(k)
	}
	d.close(&r)
	return all
}

// symbols reads so many numbers below n.
func (d *decoder) symbols(count, n int) []int {
	if count == 0 || d.err != nil {
		return nil
	}
	r, width := bitReader{in: d.rest}, symbolBits(n)
	all := make([]int, count)
	for i := range all {
		if all[i] = int(r.get(width)); all[i] >= n {
			d.fail("symbols")
			return nil
		}
	}
	d.close(&r)
	return all
}

func (d *decoder) close(r *bitReader) {
	rest, ok := r.close()
	if d.rest = rest; !ok {
		d.fail("numbers")
	}
}

func (d *decoder) header() *Batch {
	b := &Batch{ID: d.uvarint(), Policy: d.text(64), Version: d.uvarint()}
	b.Items = make([]string, d.count("items", MaxItems))
	for i := range b.Items {
		b.Items[i] = d.text(64)
	}
	rows := d.count("rows", MaxRows)
	if rows*len(b.Items) > MaxValues {
		d.fail("values")
	}
	if d.err != nil {
		b.Items = nil
		return b
	}
	b.Rows = make([]Row, rows)
	values := make([]Value, rows*len(b.Items))
	for i := range b.Rows {
		b.Rows[i].Values, values = values[:len(b.Items):len(b.Items)], values[len(b.Items):]
	}
	return b
}

// places reads times, meters, and which of their pairs are rows.
func (d *decoder) places(b *Batch) {
	n := d.count("times", len(b.Rows))
	first, step := d.varint(), uint64(1)
	if n > 1 {
		step = d.uvarint()
	}
	times := d.steps(0, n)
	meters := d.meters(len(b.Rows))
	if d.err != nil || step > lastMilli-firstMilli || times[n-1] > lastMilli-firstMilli || times[n-1]*step > lastMilli-firstMilli {
		d.fail("times")
		return
	}
	all := uint64(n) * uint64(len(meters))
	pairs := make([]uint64, len(b.Rows))
	for i := range pairs {
		pairs[i] = uint64(i)
	}
	if uint64(len(pairs)) < all {
		pairs = d.steps(d.uvarint(), len(pairs))
	}
	if d.err != nil || pairs[len(pairs)-1] >= all {
		d.fail("rows")
		return
	}
	d.among = len(meters)
	d.of = make([]int, len(pairs))
	for i, pair := range pairs {
		d.of[i] = int(pair) % len(meters)
		b.Rows[i].Meter = meters[d.of[i]]
		b.Rows[i].At = timeOf(first + int64(times[int(pair)/len(meters)]*step))
	}
}

func (d *decoder) arrivals(b *Batch) {
	if d.err != nil {
		return
	}
	for i, ms := range d.series(d.of, d.among) {
		b.Rows[i].Arrived = timeOf(b.Rows[0].At.UnixMilli() + ms)
	}
}

func (d *decoder) sources(b *Batch) {
	known := make([]byte, d.count("sources", int(Pushed)))
	for i := range known {
		known[i] = d.byte()
	}
	if d.err != nil {
		return
	}
	for i, s := range d.symbols(len(b.Rows), len(known)) {
		b.Rows[i].Source = Source(known[s])
	}
}

func (d *decoder) states(b *Batch) {
	n := d.uvarint()
	if n > uint64(len(b.Rows)*len(b.Items)) || n > uint64(len(d.rest)) {
		d.fail("reasons")
		return
	}
	reasons := make([]string, n)
	for i := range reasons {
		reasons[i] = d.text(32)
	}
	patterns := d.count("patterns", len(b.Rows))
	all := d.symbols(patterns*len(b.Items), symbolReason+len(reasons))
	for i, p := range d.symbols(len(b.Rows), patterns) {
		for j, s := range all[p*len(b.Items):][:len(b.Items)] {
			v := &b.Rows[i].Values[j]
			if s < symbolReason {
				v.State = State(s)
			} else {
				v.State, v.Reason = Missing, reasons[s-symbolReason]
			}
		}
	}
}

func (d *decoder) column(b *Batch, item int) {
	of, rows := d.good[0][:0], d.good[1][:0]
	for i := range b.Rows {
		if b.Rows[i].Values[item].State == Good {
			of, rows = append(of, d.of[i]), append(rows, i)
		}
	}
	d.good[0], d.good[1] = of, rows
	if len(of) == 0 || d.err != nil {
		return
	}
	exponent := d.varint()
	var exponents []int64
	if exponent == wide {
		exponents = d.series(of, d.among)
	}
	mantissas := d.series(of, d.among)
	if d.err != nil {
		return
	}
	for i, m := range mantissas {
		if exponents != nil {
			exponent = exponents[i]
		}
		n, ok := normal(m, int(max(-2*wide, min(exponent, 2*wide))))
		if !ok {
			d.fail("exponent")
			return
		}
		b.Rows[rows[i]].Values[item].Number = n
	}
}
