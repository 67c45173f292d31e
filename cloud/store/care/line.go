package care

import (
	"context"
	"encoding/json"
	"fmt"

	"gnomon/cloud/store"
	"gnomon/shadow"
)

// Line is one shadow in a stream of JSON lines. Record is what counts; the rest
// is for people and programs that look into the stream.
type Line struct {
	Thing    string        `json:"thing"`
	Shadow   string        `json:"shadow,omitempty"`
	Version  uint64        `json:"version"`
	Deleted  bool          `json:"deleted,omitempty"`
	Desired  *shadow.Value `json:"desired,omitempty"`
	Reported *shadow.Value `json:"reported,omitempty"`
	Record   []byte        `json:"record"` // base64 of the stored form, with a checksum of its own
}

// head is the first line. Streams of format 1 have none.
type head struct {
	Format int `json:"format"` // see store.Format
}

// end is the last line: what comes without it was cut off.
type end struct {
	End     bool `json:"end"`
	Shadows int  `json:"shadows"`
	Beside  int  `json:"beside,omitempty"` // internal records
}

// line is Line without what isn't read back, or a head, or an end.
type line struct {
	head
	end
	Thing   string `json:"thing"`
	Shadow  string `json:"shadow"`
	Version uint64 `json:"version"`
	Record  []byte `json:"record"`
}

// maxLine bounds a line: the largest state, three times in it, and some.
const maxLine = 8 << 20

// page is how many records are held at a time.
const page = 256

func encode(r store.Record) ([]byte, error) {
	d, err := shadow.ParseRecord(r.Data)
	if err != nil {
		return nil, fmt.Errorf("shadow %q of thing %q: %w", r.Key.Shadow, r.Key.Thing, err)
	}
	return json.Marshal(Line{
		Thing: r.Key.Thing, Shadow: r.Key.Shadow, Version: d.Version, Deleted: d.Deleted,
		Desired: d.Desired, Reported: d.Reported, Record: r.Data,
	})
}

// each calls do for every record, in key order.
func each(ctx context.Context, from store.Store, do func(store.Record) error) error {
	var next store.Key
	for {
		records, err := from.Scan(ctx, next, page)
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := do(r); err != nil {
				return err
			}
		}
		if len(records) < page {
			return nil
		}
		last := records[len(records)-1].Key
		next = store.Key{Thing: last.Thing, Shadow: last.Shadow + "\x01"} // what sorts right behind it: names hold nothing below a space
	}
}
