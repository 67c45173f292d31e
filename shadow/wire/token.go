package wire

import (
	"bytes"
	"strings"

	"gnomon/shadow"
)

const (
	maxToken       = 64  // bytes, by the contract
	maxTokenSource = 512 // bytes of its JSON text, every one of which may be escaped
)

// ClientToken finds the client token of a body that was refused, so that its
// rejection can name it; "" when there is none worth repeating. The body may be
// malformed, too deep or too large: only its outermost members are looked at,
// as far as they make sense, in one pass and without recursion.
func ClientToken(body []byte) string {
	s := scanner{rest: body}
	if !s.skip('{') {
		return ""
	}
	token := ""
	for {
		key, ok := s.text()
		if !ok || !s.skip(':') {
			return usableToken(token)
		}
		if !isTokenKey(key) {
			s.value()
		} else if value, ok := s.text(); ok {
			token = decodeText(value, maxTokenSource) // of doubles the last wins, as everywhere
		} else {
			token = ""
			s.value()
		}
		if !s.skip(',') {
			return usableToken(token)
		}
	}
}

func isTokenKey(key []byte) bool {
	return string(key) == `"clientToken"` ||
		bytes.IndexByte(key, '\\') >= 0 && decodeText(key, maxTokenSource) == "clientToken"
}

func usableToken(token string) string {
	if len(token) > maxToken {
		return ""
	}
	return token
}

// decodeText decodes a JSON string, "" when it isn't one or longer than most.
func decodeText(text []byte, most int) string {
	if len(text) > most {
		return ""
	}
	v, err := shadow.Parse(text, shadow.Limits{})
	if err != nil {
		return ""
	}
	return v.Text()
}

// scanner moves over JSON text without checking more of it than it must.
type scanner struct{ rest []byte }

// skip passes white space and then c, if it is there.
func (s *scanner) skip(c byte) bool {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

func (s *scanner) space() {
	for len(s.rest) > 0 && strings.IndexByte(" \t\r\n", s.rest[0]) >= 0 {
		s.rest = s.rest[1:]
	}
}

// text passes a string and returns it with its quotes.
func (s *scanner) text() ([]byte, bool) {
	s.space()
	if len(s.rest) == 0 || s.rest[0] != '"' {
		return nil, false
	}
	for i := 1; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '"':
			text := s.rest[:i+1]
			s.rest = s.rest[i+1:]
			return text, true
		}
	}
	return nil, false
}

// value passes whatever comes up to the comma or bracket that ends it.
func (s *scanner) value() {
	for depth := 0; len(s.rest) > 0; {
		switch c := s.rest[0]; {
		case c == '"':
			if _, ok := s.text(); !ok {
				s.rest = nil
			}
			continue
		case c == '{' || c == '[':
			depth++
		case depth == 0 && (c == ',' || c == '}' || c == ']'):
			return
		case c == '}' || c == ']':
			depth--
		}
		s.rest = s.rest[1:]
	}
}
