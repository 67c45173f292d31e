package schema

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
)

// Ranges are registers or bits of a Modbus device, such as 3:100-119 for holding
// registers 100 to 119; in JSON a list, here joined by commas.
type Ranges string

// MarshalJSON writes a list.
func (r Ranges) MarshalJSON() ([]byte, error) {
	if r == "" {
		return []byte("[]"), nil
	}
	return json.Marshal(strings.Split(string(r), ","))
}

// UnmarshalJSON reads a list.
func (r *Ranges) UnmarshalJSON(text []byte) error {
	var all []string
	if err := decodeList(text, &all); err != nil {
		return fmt.Errorf(`forbidden is a list such as ["3:100-119", "4:200"]`)
	}
	if len(all) > MaxForbidden {
		return fmt.Errorf("forbidden has %d ranges, %d at most", len(all), MaxForbidden)
	}
	for _, one := range all {
		if _, _, _, ok := parseRange(one); !ok {
			return fmt.Errorf(`forbidden: %q is no range; write it as "3:100-119": function, first and last address`, one)
		}
	}
	*r = Ranges(strings.Join(all, ","))
	return nil
}

// Touch tells whether any of the places from first up to end, which isn't one of
// them, is in the ranges.
func (r Ranges) Touch(function, first, end int) bool {
	for _, one := range r.All() {
		if one.Function == function && first <= one.Last && one.First < end {
			return true
		}
	}
	return false
}

// Range is one of Ranges.
type Range struct{ Function, First, Last int }

// All returns the ranges one by one.
func (r Ranges) All() (all []Range) {
	if r == "" {
		return nil
	}
	for one := range strings.SplitSeq(string(r), ",") {
		if f, from, to, ok := parseRange(one); ok {
			all = append(all, Range{f, from, to})
		}
	}
	return all
}

func parseRange(s string) (function, first, last int, ok bool) {
	f, span, found := strings.Cut(s, ":")
	from, to, several := strings.Cut(span, "-")
	if !several {
		to = from
	}
	var errs [3]error
	function, errs[0] = strconv.Atoi(f)
	first, errs[1] = strconv.Atoi(from)
	last, errs[2] = strconv.Atoi(to)
	ok = found && errs == [3]error{} && function >= 1 && function <= 4 && first >= 0 && first <= last && last <= 65535
	return function, first, last, ok
}

// decodeList reads a list as documents are read: what isn't known is refused.
func decodeList[T any](text []byte, into *[]T) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

func encodeList[T any](all []T) ([]byte, error) {
	if len(all) == 0 {
		return []byte("[]"), nil
	}
	return json.Marshal(all)
}
