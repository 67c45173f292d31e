package wire

import "encoding/binary"

// FragmentKind is the place of a fragment among its fellows.
type FragmentKind byte

// The kinds of fragment.
const (
	FirstFragment    FragmentKind = 0
	LastFragment     FragmentKind = 1
	FragmentReceived FragmentKind = 2 // confirms one; carries nothing
	MiddleFragment   FragmentKind = 3
)

func (k FragmentKind) String() string {
	return [...]string{"first", "last", "confirmation", "middle"}[k&3]
}

// Fragment is a piece of an APDU that is longer than a frame.
type Fragment struct {
	Kind  FragmentKind
	Index uint16 // 0 to 4095
	Part  []byte
}

// Decode reads the data of a fragmented frame.
func (f *Fragment) Decode(data []byte) error {
	if len(data) < 2 {
		return syntax(len(data), "fragment", ErrCut, "")
	}
	word := binary.LittleEndian.Uint16(data)
	if word&(3<<12) != 0 {
		return syntax(0, "fragment", ErrReserved, "%04X", word)
	}
	*f = Fragment{Kind: FragmentKind(word >> 14), Index: word & 0xfff, Part: data[2:]}
	return nil
}

// Append encodes the fragment behind dst.
func (f *Fragment) Append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint16(dst, uint16(f.Kind)<<14|f.Index&0xfff)
	return append(dst, f.Part...)
}

// Limits of an APDU in fragments.
const (
	MaxAPDU      = 64 << 10
	MaxFragments = 256
)

// Joiner puts fragments together again, up to MaxAPDU bytes of MaxFragments. A
// fragment that comes twice in a row is taken once.
type Joiner struct {
	buf  []byte
	next int // fragments taken
}

// Reset forgets what has come so far.
func (j *Joiner) Reset() { j.buf, j.next = j.buf[:0], 0 }

// Add takes a fragment. With the last one it returns the APDU, which is valid
// until the next Add. After an error the joiner is empty.
func (j *Joiner) Add(f Fragment) (apdu []byte, done bool, err error) {
	fail := func(reason error, detail string, args ...any) ([]byte, bool, error) {
		j.Reset()
		return nil, false, syntax(0, f.Kind.String()+" fragment", reason, detail, args...)
	}
	switch {
	case f.Kind == FragmentReceived:
		return fail(ErrFragment, "a confirmation is none")
	case f.Kind == FirstFragment:
		j.Reset()
		j.next = int(f.Index) // counted from 0, by some from 1
	case j.next == 0:
		return fail(ErrFragment, "number %d without a first one", f.Index)
	case int(f.Index) == j.next-1:
		return nil, false, nil // again, because our confirmation was lost
	case int(f.Index) != j.next:
		return fail(ErrFragment, "number %d where %d is due", f.Index, j.next)
	}
	if j.next >= MaxFragments {
		return fail(ErrTooMany, "at most %d", MaxFragments)
	}
	if len(j.buf)+len(f.Part) > MaxAPDU {
		return fail(ErrLength, "more than %d bytes together", MaxAPDU)
	}
	j.buf = append(j.buf, f.Part...)
	j.next++
	if f.Kind == LastFragment {
		j.next = 0
		return j.buf, true, nil
	}
	return nil, false, nil
}
