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
	Shadows int `json:"shadows"`          // written, read in, or found good
	Beside  int `json:"beside,omitempty"` // internal records, likewise: histories and change-sets
	Kept    int `json:"kept,omitempty"`
	Damaged int `json:"damaged,omitempty"`
}

// count counts one record.
func (n *Result) count(k store.Key) {
	if k.Internal() {
		n.Beside++
	} else {
		n.Shadows++
	}
}

func (n *Result) records() int { return n.Shadows + n.Beside }

// Export writes every shadow, deleted ones included, and what is kept beside
// them, as JSON lines in key order. The store may be in use: each record is as it
// was at one moment, though not all at the same. The first line says the format,
// the last how many there are. A damaged record is left out, counted, and handed
// to damaged.
func Export(ctx context.Context, from store.Store, w io.Writer, damaged func(store.Key, error)) (Result, error) {
	var n Result
	out := bufio.NewWriterSize(w, 64<<10)
	if err := json.NewEncoder(out).Encode(head{Format: store.Format}); err != nil {
		return n, err
	}
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
		n.count(r.Key)
		if _, err := out.Write(append(text, '\n')); err != nil {
			return err
		}
		return nil
	})
	if err == nil {
		err = json.NewEncoder(out).Encode(end{End: true, Shadows: n.Shadows, Beside: n.Beside})
	}
	return n, errors.Join(err, out.Flush())
}
