package trace

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"

	"gnomon/shadow/wire"
)

// Door is how a write came in.
type Door string

// The doors.
const (
	HTTP Door = "HTTP"
	MQTT Door = "MQTT"
)

// Origin is where a write comes from. The zero Origin is not known.
type Origin struct {
	Parent string // W3C traceparent
	Door   Door
}

type originKey struct{}

// With returns a context whose writes have an origin.
func With(ctx context.Context, o Origin) context.Context {
	return context.WithValue(ctx, originKey{}, o)
}

// From returns the origin that a context's writes have.
func From(ctx context.Context) Origin {
	o, _ := ctx.Value(originKey{}).(Origin)
	return o
}

// ParentOr returns a traceparent if it is one, else a new one.
func ParentOr(parent string) string {
	if _, ok := wire.TraceID(parent); ok {
		return parent
	}
	return NewParent()
}

// NewParent returns a traceparent that nobody else has.
func NewParent() string {
	var id [24]byte
	for id[15] == 0 || id[23] == 0 { // neither part may be all zeros
		for i := 0; i < len(id); i += 8 {
			binary.BigEndian.PutUint64(id[i:], rand.Uint64())
		}
	}
	text := make([]byte, 0, 55)
	text = append(text, "00-"...)
	text = hex.AppendEncode(text, id[:16])
	text = append(text, '-')
	text = hex.AppendEncode(text, id[16:])
	return string(append(text, "-01"...))
}
