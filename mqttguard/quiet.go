package mqttguard

import (
	"context"
	"log/slog"
)

// Quiet passes on the broker's warnings and errors: what it says of every
// connection is said by the guard where it matters. It leaves out the packets
// that mochi prints whole, with what is in them and whoever's password.
func Quiet(h slog.Handler) slog.Handler { return quiet{h} }

type quiet struct{ slog.Handler }

func (q quiet) Enabled(ctx context.Context, level slog.Level) bool {
	return level >= slog.LevelWarn && q.Handler.Enabled(ctx, level)
}

func (q quiet) Handle(ctx context.Context, r slog.Record) error {
	kept := slog.NewRecord(r.Time, r.Level, r.Message, r.PC)
	r.Attrs(func(a slog.Attr) bool {
		if !isPacket(a) {
			kept.AddAttrs(a)
		}
		return true
	})
	return q.Handler.Handle(ctx, kept)
}

func (q quiet) WithAttrs(attrs []slog.Attr) slog.Handler {
	kept := make([]slog.Attr, 0, len(attrs))
	for _, a := range attrs {
		if !isPacket(a) {
			kept = append(kept, a)
		}
	}
	return quiet{q.Handler.WithAttrs(kept)}
}

func (q quiet) WithGroup(name string) slog.Handler { return quiet{q.Handler.WithGroup(name)} }

func isPacket(a slog.Attr) bool { return a.Key == "pk" || a.Key == "packet" }
