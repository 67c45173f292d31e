package index

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Bounds of a selector.
const (
	MaxSelector     = 4096 // bytes
	MaxRequirements = 32
	MaxValues       = 256 // of one in or notin
)

// SelectorError says what is wrong with a selector, where, and what would be right.
type SelectorError struct {
	Position int    // the first character that is wrong, counted from 1
	Field    string // the key it is about; "" when there is none yet
	Message  string
	Allowed  string // what may stand there, in words; "" when Message says it
}

func (e *SelectorError) Error() string {
	text := fmt.Sprintf("selector, character %d: %s", e.Position, e.Message)
	if e.Allowed != "" {
		text += "; allowed: " + e.Allowed
	}
	return text
}

// RejectionCode makes a selector that doesn't parse a bad request.
func (e *SelectorError) RejectionCode() int { return 400 }

// ParseSelector reads requirements joined by commas:
//
//	key=value  key!=value  key in (a,b)  key notin (a,b)  key^=prefix
//	key  !key  key>5  key>=5  key<5  key<=5
//
// A key is site, phase, kind, name, node, component, converged, pendingFor,
// error, label.<name>, desired.<gjson path>, reported.<gjson path>, or, as in
// kubectl, the bare name of a label. Also as there, != and notin hold for what
// doesn't have the key at all. Keys and values that hold anything but letters,
// digits and some punctuation stand in double quotes, in which a backslash
// makes the next character plain. Nothing, or only spaces, selects everything.
// The error is a *SelectorError.
func ParseSelector(text string) (Selector, error) {
	if len(text) > MaxSelector {
		return nil, &SelectorError{Position: MaxSelector + 1, Message: fmt.Sprintf("a selector has at most %d bytes", MaxSelector)}
	}
	p := &parser{text: text}
	if !utf8.ValidString(text) {
		return nil, p.fail("a selector is UTF-8", "")
	}
	p.space()
	if p.done() {
		return nil, nil
	}
	var s Selector
	for {
		if len(s) == MaxRequirements {
			return nil, p.fail(fmt.Sprintf("a selector has at most %d requirements", MaxRequirements), "")
		}
		r, err := p.requirement()
		if err != nil {
			return nil, err
		}
		s = append(s, r)
		if p.space(); p.done() {
			return s, nil
		}
		if !p.take(",") {
			return nil, p.unexpected("a comma, or the end")
		}
		p.key = ""
	}
}

// parser walks over a selector from left to right.
type parser struct {
	text string
	pos  int // in bytes
	key  string
}

func (p *parser) done() bool { return p.pos == len(p.text) }

func (p *parser) space() {
	p.pos += len(p.text[p.pos:]) - len(strings.TrimLeft(p.text[p.pos:], " \t"))
}

func (p *parser) take(s string) bool {
	if !strings.HasPrefix(p.text[p.pos:], s) {
		return false
	}
	p.pos += len(s)
	return true
}

func (p *parser) fail(message, allowed string) *SelectorError {
	return p.failAt(p.pos, message, allowed)
}

func (p *parser) failAt(pos int, message, allowed string) *SelectorError {
	return &SelectorError{Position: utf8.RuneCountInString(p.text[:pos]) + 1, Field: p.key, Message: message, Allowed: allowed}
}

func (p *parser) unexpected(allowed string) error {
	if p.done() {
		return p.fail("the selector ends too early", allowed)
	}
	r, _ := utf8.DecodeRuneInString(p.text[p.pos:])
	return p.fail(fmt.Sprintf("%q can't stand here", r), allowed)
}

// operators in the order in which they are tried: the longer first.
var operators = []struct {
	text string
	op   Op
}{{"==", Equal}, {"=", Equal}, {"!=", NotEqual}, {"^=", Prefix}, {">=", AtLeast}, {">", Greater}, {"<=", AtMost}, {"<", Less}}

const anyOperator = "=, !=, in, notin, ^=, >, >=, <, <=, a comma or the end"

func (p *parser) requirement() (r Requirement, err error) {
	p.key = ""
	p.space()
	negated := p.take("!")
	if negated {
		p.space()
	}
	start := p.pos
	key, err := p.token(bareKey, "a key: "+allKeys)
	if err != nil {
		return r, err
	}
	if r.Field, r.Name, err = p.fieldOf(key, start); err != nil {
		return r, err
	}
	p.key = key
	p.space()
	at := p.pos
	if negated {
		r.Op = Absent
	} else if r.Op, err = p.operator(); err != nil {
		return r, err
	}
	if !rules[r.Field].takes(r.Op) {
		return r, p.failAt(at, fmt.Sprintf("%s does not take %s", r.Field, r.Op), rules[r.Field].operators())
	}
	switch r.Op {
	case Exists, Absent:
	case In, NotIn:
		r.Values, err = p.list(r)
	default:
		p.space()
		var value string
		if value, err = p.value(r); err == nil {
			r.Values = []string{value}
		}
	}
	return r, err
}

func (p *parser) operator() (Op, error) {
	if p.done() || p.text[p.pos] == ',' {
		return Exists, nil
	}
	for _, o := range operators {
		if p.take(o.text) {
			return o.op, nil
		}
	}
	for _, o := range []Op{NotIn, In} {
		rest, ok := strings.CutPrefix(p.text[p.pos:], string(o))
		if ok && (rest == "" || strings.ContainsRune(" \t(", rune(rest[0]))) {
			p.pos += len(o)
			return o, nil
		}
	}
	return "", p.unexpected(anyOperator)
}

// list reads the values of in and notin, in parentheses.
func (p *parser) list(r Requirement) (values []string, err error) {
	p.space()
	if !p.take("(") {
		return nil, p.unexpected("( and values joined by commas")
	}
	for {
		if len(values) == MaxValues {
			return nil, p.fail(fmt.Sprintf("%s has at most %d values", r.Op, MaxValues), "")
		}
		p.space()
		v, err := p.value(r)
		if err != nil {
			return nil, err
		}
		values = append(values, v)
		if p.space(); p.take(")") {
			return values, nil
		}
		if !p.take(",") {
			return nil, p.unexpected("a comma, or )")
		}
	}
}

// value reads a value and checks that the field can have it. Nothing at all is
// the empty value, as in kubectl.
func (p *parser) value(r Requirement) (string, error) {
	start := p.pos
	v := ""
	if !p.done() && !strings.ContainsRune(",)", rune(p.text[p.pos])) {
		var err error
		if v, err = p.token(bareValue, `a value; put " around one with other characters than letters, digits and ._-/@:+`); err != nil {
			return "", err
		}
	}
	if message, allowed := rules[r.Field].check(r.Op, v); message != "" {
		return "", p.failAt(start, message, allowed)
	}
	return v, nil
}

// token reads a word: bare, or in quotes.
func (p *parser) token(bare func(rune) bool, wanted string) (string, error) {
	rest := p.text[p.pos:]
	if !strings.HasPrefix(rest, `"`) {
		end := strings.IndexFunc(rest, func(r rune) bool { return !bare(r) })
		if end < 0 {
			end = len(rest)
		}
		if end == 0 {
			return "", p.unexpected(wanted)
		}
		p.pos += end
		return rest[:end], nil
	}
	var b strings.Builder
	plain := false
	for i, c := range rest[1:] {
		switch {
		case plain:
			b.WriteRune(c)
			plain = false
		case c == '\\':
			plain = true
		case c == '"':
			p.pos += 1 + i + 1
			return b.String(), nil
		default:
			b.WriteRune(c)
		}
	}
	return "", p.fail(`a " that is not closed`, "")
}

func bareKey(r rune) bool {
	return unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune(`._/-#*?:|\`, r)
}

func bareValue(r rune) bool {
	return unicode.IsGraphic(r) && !unicode.IsSpace(r) && !strings.ContainsRune(`,;()"=!<>^\`, r)
}
