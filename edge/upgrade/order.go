package upgrade

import (
	"cmp"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// lower tells whether a version is lower than another, which only versions of
// numbers can be: 1.4.0 is lower than v1.10, and 1.4.0-rc1 than 1.4.0.
func lower(a, b string) bool {
	na, ra, oka := numbers(a)
	nb, rb, okb := numbers(b)
	if !oka || !okb {
		return false
	}
	for i := range na {
		if na[i] != nb[i] {
			return na[i] < nb[i]
		}
	}
	if described.MatchString(ra) || described.MatchString(rb) {
		return false // so many commits after that version
	}
	return ra != "" && (rb == "" || sooner(strings.Split(ra, "."), strings.Split(rb, ".")))
}

// sooner compares what is behind a dash, part by part: numbers as such, and before
// words.
func sooner(a, b []string) bool {
	return slices.CompareFunc(a, b, func(x, y string) int {
		nx, errx := strconv.ParseUint(x, 10, 64)
		ny, erry := strconv.ParseUint(y, 10, 64)
		switch {
		case errx == nil && erry == nil:
			return cmp.Compare(nx, ny)
		case errx == nil:
			return -1
		case erry == nil:
			return 1
		}
		return strings.Compare(x, y)
	}) < 0
}

// described is how git names what comes after a version.
var described = regexp.MustCompile(`^[0-9]+-g[0-9a-f]+`)

// numbers takes a version apart: up to three numbers, and what is behind a dash.
func numbers(v string) (n [3]int, rest string, ok bool) {
	v, _, _ = strings.Cut(strings.TrimPrefix(v, "v"), "+")
	v, rest, _ = strings.Cut(v, "-")
	parts := strings.Split(v, ".")
	if len(parts) > len(n) || len(parts) < 2 {
		return n, "", false
	}
	for i, p := range parts {
		x, err := strconv.Atoi(p)
		if err != nil {
			return n, "", false
		}
		n[i] = x
	}
	return n, rest, true
}
