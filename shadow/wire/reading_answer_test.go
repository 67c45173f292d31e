package wire_test

import (
	"strings"
	"testing"

	"gnomon/shadow/wire"
)

func TestReadingsAnswer(t *testing.T) {
	for text, a := range map[string]wire.ReadingsAnswer{
		`{"id":18446744073709551615}`:                                      {ID: 1<<64 - 1},
		`{"id":7,"code":"invalid","message":"rows: 0, must be 1 to 4096"}`: {ID: 7, Code: wire.ReadingsInvalid, Message: "rows: 0, must be 1 to 4096"},
	} {
		if got := string(a.Append(nil)); got != text {
			t.Errorf("%+v is %s, want %s", a, got, text)
		}
		if got, err := wire.ParseReadingsAnswer([]byte(text)); err != nil || got != a {
			t.Errorf("%s is %+v, %v; want %+v", text, got, err, a)
		}
	}
	for _, bad := range []string{"", "7", `{"id":-1}`, `{"id":"7"}`, `{"id":1,"message":"` + strings.Repeat("x", 5000) + `"}`} {
		if _, err := wire.ParseReadingsAnswer([]byte(bad)); err == nil {
			t.Errorf("%.40q is taken for an answer", bad)
		}
	}
}
