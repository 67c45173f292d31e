package care

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

// Result counts what was done.
type Result struct {
	Shadows int `json:"shadows"` // written, read in, or found good
	Kept    int `json:"kept,omitempty"`
	Damaged int `json:"damaged,omitempty"`
}

// Export writes every shadow, deleted ones included, as JSON lines in key order.
// The store may be in use: each shadow is as it was at one moment, though not all
// at the same. The last line says how many there are. A damaged record is left out, counted, and handed to damaged.
func Export(ctx context.Context, from store.Store, w io.Writer, damaged func(store.Key, error)) (Result, error) {
	var n Result
	out := bufio.NewWriterSize(w, 64<<10)
	err := each(ctx, from, func(r store.Record) error {
		text, err := encode(r)
		if errors.Is(err, shadow.ErrCorrupt) {
			n.Damaged++
			damaged(r.Key, err)
			return nil
		}
		if err != nil {
			return err
		}
		n.Shadows++
		if _, err := out.Write(append(text, '\n')); err != nil {
			return err
		}
		return nil
	})
	if err == nil {
		err = json.NewEncoder(out).Encode(end{End: true, Shadows: n.Shadows})
	}
	return n, errors.Join(err, out.Flush())
}
