package shadow

import (
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Parse reads one JSON text (RFC 8259, strict UTF-8) and nothing after it. Of
// duplicate keys the last wins. It refuses more than lim.BodyBytes bytes and
// more than lim.Depth levels of nesting.
//
// The result shares one copy of text; what is merged into a document is copied
// out of it.
func Parse(text []byte, lim Limits) (*Value, error) {
	return parse(text, lim.withDefaults(), 0)
}

// parse allows extra levels around the depth that Limits speak of.
func parse(text []byte, lim Limits, extra int) (*Value, error) {
	if len(text) > lim.BodyBytes {
		return nil, &LimitError{Field: "body", Limit: lim.BodyBytes, Got: len(text)}
	}
	if !utf8.Valid(text) {
		return nil, ErrEncoding
	}
	p := parser{text: string(text), depth: lim.Depth + extra, limit: lim.Depth}
	p.space()
	v := p.value(0)
	p.space()
	if p.err == nil && p.pos < len(p.text) {
		p.fail("text after the value")
	}
	if p.err != nil {
		return nil, p.err
	}
	return v, nil
}

const messageInvalidJSON = "Invalid JSON"

// parser is a recursive descent over one string. After the first failure it
// only unwinds.
type parser struct {
	text  string
	pos   int
	depth int // containers may open at levels below this
	limit int // what the error says
	err   error
}

func (p *parser) fail(detail string) *Value {
	if p.err == nil {
		p.err = &InvalidError{Message: messageInvalidJSON, Detail: detail + " at byte " + strconv.Itoa(p.pos)}
	}
	return nil
}

func (p *parser) space() {
	for p.pos < len(p.text) {
		switch p.text[p.pos] {
		case ' ', '\t', '\r', '\n':
			p.pos++
		default:
			return
		}
	}
}

// peek returns the next byte, 0 at the end: no JSON token starts with NUL.
func (p *parser) peek() byte {
	if p.pos < len(p.text) {
		return p.text[p.pos]
	}
	return 0
}

func (p *parser) value(level int) *Value {
	switch c := p.peek(); {
	case c == '{':
		return p.object(level)
	case c == '[':
		return p.array(level)
	case c == '"':
		return newValue(String, 0, p.str(), nil)
	case c == '-' || c >= '0' && c <= '9':
		return p.number()
	case p.word("true"), p.word("false"):
		return newValue(Bool, 0, p.text[p.pos-4-b2i(c == 'f'):p.pos], nil)
	case p.word("null"):
		return newValue(Null, 0, "", nil)
	case p.pos >= len(p.text):
		return p.fail("unexpected end")
	default:
		return p.fail("unexpected character")
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

func (p *parser) word(w string) bool {
	if strings.HasPrefix(p.text[p.pos:], w) {
		p.pos += len(w)
		return true
	}
	return false
}

// enter consumes an opening bracket and tells whether the container is empty,
// which doesn't count as a level of nesting.
func (p *parser) enter(level int, closing byte) (empty bool) {
	p.pos++
	p.space()
	if p.peek() == closing {
		p.pos++
		return true
	}
	if level >= p.depth && p.err == nil {
		p.err = &LimitError{Field: "depth", Limit: p.limit, Got: p.limit + 1}
	}
	return false
}

func (p *parser) object(level int) *Value {
	if p.enter(level, '}') {
		return newValue(Object, 0, "", nil)
	}
	members := make([]Member, 0, 4)
	for p.err == nil {
		p.space()
		if p.peek() != '"' {
			return p.fail("a member's key must be a string")
		}
		key := p.str()
		p.space()
		if p.peek() != ':' {
			return p.fail("colon missing")
		}
		p.pos++
		p.space()
		v := p.value(level + 1)
		members = append(members, Member{Key: key, Value: v})
		p.space()
		switch p.peek() {
		case ',':
			p.pos++
		case '}':
			p.pos++
			return newValue(Object, 0, "", sortMembers(members))
		default:
			return p.fail("comma or } missing")
		}
	}
	return nil
}

func (p *parser) array(level int) *Value {
	if p.enter(level, ']') {
		return newValue(Array, 0, "", nil)
	}
	elems := make([]Member, 0, 4)
	for p.err == nil {
		p.space()
		elems = append(elems, Member{Value: p.value(level + 1)})
		p.space()
		switch p.peek() {
		case ',':
			p.pos++
		case ']':
			p.pos++
			return newValue(Array, 0, "", elems)
		default:
			return p.fail("comma or ] missing")
		}
	}
	return nil
}

func (p *parser) digits() bool {
	start := p.pos
	for c := p.peek(); c >= '0' && c <= '9'; c = p.peek() {
		p.pos++
	}
	return p.pos > start
}

func (p *parser) number() *Value {
	start := p.pos
	if fault := p.skipNumber(); fault != "" {
		return p.fail(fault)
	}
	return newValue(Number, 0, p.text[start:p.pos], nil)
}

// validNumber tells whether text is a number as the parser takes it.
func validNumber(text string) bool {
	p := parser{text: text}
	return p.skipNumber() == "" && p.pos == len(text)
}

// skipNumber moves past a number and says what is wrong with it, if anything.
func (p *parser) skipNumber() (fault string) {
	if p.peek() == '-' {
		p.pos++
	}
	if p.peek() == '0' {
		p.pos++
	} else if !p.digits() {
		return "digit missing"
	}
	if p.peek() == '.' {
		p.pos++
		if !p.digits() {
			return "digit missing"
		}
	}
	if c := p.peek(); c == 'e' || c == 'E' {
		p.pos++
		if c := p.peek(); c == '+' || c == '-' {
			p.pos++
		}
		at := p.pos
		if !p.digits() {
			return "digit missing"
		}
		if e := strings.TrimLeft(p.text[at:p.pos], "0"); len(e) > 7 || len(e) == 7 && e > strconv.Itoa(maxExponent) {
			return "exponent out of range: the limit is ±" + strconv.Itoa(maxExponent)
		}
	}
	return ""
}

// str reads a string. Without escapes it is a substring of the text.
func (p *parser) str() string {
	p.pos++
	start := p.pos
	for p.pos < len(p.text) {
		switch c := p.text[p.pos]; {
		case c == '"':
			p.pos++
			return p.text[start : p.pos-1]
		case c == '\\':
			return p.escaped(start)
		case c < ' ':
			p.fail("control character in a string")
			return ""
		default:
			p.pos++
		}
	}
	p.fail("string without an end")
	return ""
}

// escaped goes on with a string that has an escape at pos.
func (p *parser) escaped(start int) string {
	var b strings.Builder
	b.WriteString(p.text[start:p.pos])
	for p.pos < len(p.text) {
		c := p.text[p.pos]
		p.pos++
		switch {
		case c == '"':
			return b.String()
		case c < ' ':
			p.fail("control character in a string")
			return ""
		case c != '\\':
			b.WriteByte(c)
		default:
			r, ok := p.escape()
			if !ok {
				return ""
			}
			b.WriteRune(r)
		}
	}
	p.fail("string without an end")
	return ""
}

const (
	escapeLetters = `"\/bfnrt`
	escapeMeaning = "\"\\/\b\f\n\r\t"
)

// escape reads what follows a backslash.
func (p *parser) escape() (rune, bool) {
	c := p.peek()
	p.pos++
	if i := strings.IndexByte(escapeLetters, c); i >= 0 {
		return rune(escapeMeaning[i]), true
	}
	if c != 'u' {
		p.fail("unknown escape")
		return 0, false
	}
	r, ok := p.hex4()
	if ok && utf16.IsSurrogate(r) {
		var low rune
		if !p.word(`\u`) {
			ok = false
		} else if low, ok = p.hex4(); ok {
			r = utf16.DecodeRune(r, low)
			ok = r != utf8.RuneError
		}
	}
	if !ok {
		p.fail("invalid \\u escape")
	}
	return r, ok
}

func (p *parser) hex4() (rune, bool) {
	if p.pos+4 > len(p.text) {
		return 0, false
	}
	var r rune
	for _, c := range []byte(p.text[p.pos : p.pos+4]) {
		switch {
		case c >= '0' && c <= '9':
			r = r<<4 | rune(c-'0')
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			r = r<<4 | rune(c|0x20-'a'+10)
		default:
			return 0, false
		}
	}
	p.pos += 4
	return r, true
}
