package mqtt

import (
	"fmt"
	"strings"
	"time"

	"github.com/tidwall/gjson"

	"gnomon/edge/collect"
	"gnomon/schema"
	"gnomon/shadow"
)

// latest is what the last message said at a path.
type latest struct {
	text string // as it was sent
	kind gjson.Type
	err  error     // why there is nothing
	at   time.Time // it arrived; zero = nothing has
}

const maxText = 64 // bytes of a value

// payload is one that was looked at: that isn't done for every path anew.
type payload struct {
	bytes []byte
	json  bool
}

func payloadOf(bytes []byte) payload {
	return payload{bytes, len(bytes) <= maxPayload && gjson.ValidBytes(bytes)}
}

// extract takes what is at a path out of a payload.
func (p payload) extract(path string, at time.Time) latest {
	fail := func(reason error, format string, args ...any) latest {
		return latest{err: fmt.Errorf("%w: "+format, append([]any{reason}, args...)...), at: at}
	}
	if len(p.bytes) > maxPayload {
		return fail(collect.ErrGarbled, "a payload of %d bytes, the limit is %d", len(p.bytes), maxPayload)
	}
	var found gjson.Result
	if path == "" {
		text := strings.TrimSpace(string(p.bytes))
		if found = gjson.Parse(text); !gjson.Valid(text) {
			found = gjson.Result{Type: gjson.String, Str: text} // bare text, such as ON
		}
	} else {
		if !p.json {
			return fail(collect.ErrGarbled, "the payload is no JSON")
		}
		found = gjson.GetBytes(p.bytes, path)
	}
	text := found.Raw
	if found.Type == gjson.String {
		text = found.Str
	}
	switch {
	case !found.Exists() && path != "":
		return fail(collect.ErrNoValue, "there is no %s in the payload", path)
	case found.Type == gjson.Null:
		return fail(collect.ErrNoValue, "it is null")
	case found.Type == gjson.JSON, len(text) > maxText:
		return fail(collect.ErrNotNumber, "it is longer than %d bytes, or an object or array", maxText)
	}
	return latest{text: strings.Clone(text), kind: found.Type, at: at}
}

// value makes an item's value of it, unless it is too old.
func (l latest) value(it schema.Item, maxAge time.Duration, now time.Time) collect.Value {
	if age := now.Sub(l.at); age > maxAge {
		return collect.Value{At: now, Err: fmt.Errorf("%w: the last message is %v old, %v at most", collect.ErrTimeout, age.Round(time.Millisecond), maxAge)}
	}
	v := collect.Value{At: l.at, Err: l.err}
	switch {
	case l.err != nil:
	case it.Type == "bool":
		v.Value, v.Err = truth(l.text)
	case l.kind == gjson.True, l.kind == gjson.False:
		v.Value = shadow.Flag(l.kind == gjson.True)
	default:
		v.Value, v.Err = collect.Digits(l.text, it)
	}
	return v
}

// truth takes the words that devices have for on and off.
func truth(text string) (*shadow.Value, error) {
	switch strings.ToLower(text) {
	case "true", "on", "yes", "1", "open":
		return shadow.Flag(true), nil
	case "false", "off", "no", "0", "closed":
		return shadow.Flag(false), nil
	}
	return nil, fmt.Errorf("%w: %q is neither on nor off", collect.ErrNotNumber, text)
}
