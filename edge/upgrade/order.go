package upgrade

import (
	"regexp"
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
	return ra != "" && (rb == "" || ra < rb)
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
