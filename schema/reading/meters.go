package reading

import (
	"encoding/binary"
	"slices"
	"strconv"
	"strings"
)

// The meters of a batch are listed once, ascending. Where all are some text and
// then so many digits, as addresses of meters are, they are numbers: the first and
// the steps between them. Otherwise each says how much of the one before it begins.
const (
	metersText = iota
	metersNumbered
)

// numbered splits meters into a common beginning and as many digits at the end.
func numbered(meters []string) (prefix string, digits int, numbers []uint64) {
	first := meters[0]
	digits = min(len(first)-len(strings.TrimRight(first, "0123456789")), maxDigits)
	prefix = first[:len(first)-digits]
	if digits == 0 {
		return "", 0, nil
	}
	numbers = make([]uint64, 0, len(meters))
	for _, m := range meters {
		if len(m) != len(first) || !strings.HasPrefix(m, prefix) {
			return "", 0, nil
		}
		n, err := strconv.ParseUint(m[len(prefix):], 10, 64)
		if err != nil {
			return "", 0, nil
		}
		numbers = append(numbers, n)
	}
	return prefix, digits, numbers
}

func appendMeters(dst []byte, meters []string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(meters)))
	if prefix, digits, numbers := numbered(meters); digits > 0 {
		dst = append(appendText(append(dst, metersNumbered), prefix), byte(digits))
		return appendSteps(binary.AppendUvarint(dst, numbers[0]), numbers)
	}
	dst = append(dst, metersText)
	before := ""
	for _, m := range meters {
		same := 0
		for same < min(len(before), len(m)) && before[same] == m[same] {
			same++
		}
		dst = appendText(append(dst, byte(same)), m[same:])
		before = m
	}
	return dst
}

// appendSteps appends how far ascending numbers are apart, less one.
func appendSteps(dst []byte, numbers []uint64) []byte {
	steps := make([]uint64, 0, len(numbers))
	for i := 1; i < len(numbers); i++ {
		steps = append(steps, numbers[i]-numbers[i-1]-1)
	}
	return appendRice(dst, steps)
}

// steps reads what appendSteps wrote: n numbers from the first, in all.
func (d *decoder) steps(first uint64, n int) []uint64 {
	numbers := append(make([]uint64, 0, n), first)
	for _, step := range d.rice(n - 1) {
		next := first + step + 1
		if next <= first {
			d.fail("steps")
			return nil
		}
		first = next
		numbers = append(numbers, next)
	}
	return numbers
}

// meters reads the list of meters, at most so many.
func (d *decoder) meters(most int) []string {
	n := d.count("meters", most)
	mode := d.byte()
	if d.err != nil {
		return nil
	}
	meters := make([]string, 0, n)
	if mode == metersNumbered {
		prefix, digits := d.text(64), int(d.byte())
		numbers := d.steps(d.uvarint(), n)
		if digits < 1 || digits > maxDigits || len(prefix)+digits > 64 {
			d.fail("meters")
		}
		for _, number := range numbers {
			s := strconv.FormatUint(number, 10)
			if d.err != nil || len(s) > digits {
				d.fail("meters")
				return nil
			}
			meters = append(meters, prefix+strings.Repeat("0", digits-len(s))+s)
		}
		return meters
	}
	before := ""
	for range n {
		same := int(d.byte())
		rest := d.text(64)
		if d.err != nil || mode != metersText || same > len(before) {
			d.fail("meters")
			return nil
		}
		before = before[:same] + rest
		meters = append(meters, before)
	}
	if !slices.IsSorted(meters) {
		d.fail("meters")
	}
	return meters
}
