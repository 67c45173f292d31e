package index

import (
	"context"
	"slices"
	"strings"

	"github.com/tidwall/gjson"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/shadow"
)

// documentList is a list for which documents are read.
type documentList struct {
	page *Page
	q    Query
	at   cursor
	m    matcher
	p    identity.Principal
}

// readChunk is how many rows are taken from the index before their documents
// are read.
const readChunk = 256

// listDocuments takes the rows the index leaves over, reads their documents, and
// stops at MaxRead of them.
func (ix *Index) listDocuments(ctx context.Context, l documentList) error {
	select {
	case ix.reading <- struct{}{}:
		defer func() { <-ix.reading }()
	case <-ctx.Done():
		return ctx.Err()
	}
	var chunk []Item
	for {
		chunk = chunk[:0]
		ix.walk(l.at.key, func(r *row) bool {
			if l.m.row(r) {
				chunk = append(chunk, r.item())
			}
			return len(chunk) < readChunk
		})
		for _, it := range chunk {
			l.at = cursorOf(it, ByName)
			full := len(l.page.Items) == l.q.Limit
			if full || l.page.Read == MaxRead {
				return nil // the place to continue at is that of the item before
			}
			l.page.Read++
			match, err := ix.documentMatches(ctx, l, l.at.key)
			if err != nil {
				return err
			}
			if match {
				l.page.Items = append(l.page.Items, it)
			}
			l.page.Continue = l.at.String()
		}
		if len(chunk) < readChunk {
			l.page.Continue = ""
			return nil
		}
	}
}

func (ix *Index) documentMatches(ctx context.Context, l documentList, key store.Key) (bool, error) {
	d, err := ix.docs.Peek(ctx, l.p, key)
	if err != nil || !d.Exists() {
		return false, err // what went away in the meantime doesn't match
	}
	return documentHolds(d, l.m.docs), nil
}

func documentHolds(d *shadow.Document, all []Requirement) bool {
	var desired, reported []byte
	for _, r := range all {
		section, text := d.Desired, &desired
		if r.Field == Reported {
			section, text = d.Reported, &reported
		}
		if *text == nil {
			*text = sectionJSON(section)
		}
		if !pathHolds(*text, r) {
			return false
		}
	}
	return true
}

func sectionJSON(v *shadow.Value) []byte {
	if v == nil {
		return []byte("{}")
	}
	return v.AppendJSON(nil)
}

// pathHolds evaluates a requirement on a section. A path that leads to many
// values holds when one of them does; numbers are equal by value.
func pathHolds(section []byte, r Requirement) bool {
	found := gjson.GetBytes(section, r.Name)
	switch r.Op {
	case Exists:
		return found.Exists()
	case Absent:
		return !found.Exists()
	case NotEqual, NotIn:
		r.Op = In
		return !valueHolds(found, r)
	}
	return valueHolds(found, r)
}

func valueHolds(found gjson.Result, r Requirement) bool {
	if found.IsArray() {
		return slices.ContainsFunc(found.Array(), func(one gjson.Result) bool { return !one.IsArray() && valueHolds(one, r) })
	}
	if !found.Exists() || found.IsObject() {
		return false
	}
	if r.Op == Equal || r.Op == In {
		return slices.ContainsFunc(r.Values, func(v string) bool { return sameValue(found, v) })
	}
	if r.Op == Prefix {
		return strings.HasPrefix(found.String(), r.Values[0])
	}
	limit, err := parseNumber(r.Values[0])
	return err == nil && found.Type == gjson.Number && comparison(r.Op)(found.Num, limit)
}

func sameValue(found gjson.Result, v string) bool {
	if found.Type == gjson.Number {
		if n, err := parseNumber(v); err == nil {
			return n == found.Num
		}
	}
	return found.String() == v
}
