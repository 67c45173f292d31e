package index

import (
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strconv"
	"strings"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/schema"
)

// Item is what the index knows of a shadow.
type Item struct {
	Node            string      `json:"node"`
	Kind            schema.Kind `json:"kind"`
	Name            string      `json:"name"`
	Site            string      `json:"site,omitempty"`
	Phase           string      `json:"phase,omitempty"`
	Converged       bool        `json:"converged"`
	PendingSince    int64       `json:"pendingSince,omitempty" doc:"second since 1970 at which it stopped being converged"`
	Component       string      `json:"component,omitempty"`
	Version         uint64      `json:"version"`
	DesiredVersion  uint64      `json:"desiredVersion"`
	ObservedVersion uint64      `json:"observedVersion" doc:"the desired version the node last acted on"`
	Error           string      `json:"error,omitempty" doc:"the code of the last error"`
}

func (r *row) item() Item {
	return Item{
		Node: r.thing.name, Kind: kinds[r.kind], Name: r.name(), Site: r.thing.site.Value(), Phase: r.phase.Value(),
		Converged: r.converged, PendingSince: r.since, Component: r.component.Value(),
		Version: r.version, DesiredVersion: r.desired, ObservedVersion: r.observed, Error: r.fault.Value(),
	}
}

// Sort is the order of a list.
type Sort string

// The orders.
const (
	ByName    Sort = "name"         // by thing, then shadow
	ByPending Sort = "pendingSince" // what has been pending longest comes first; what has converged isn't listed
)

// Query is a question for a list.
type Query struct {
	Kind     schema.Kind // "" = every kind
	Selector Selector
	Sort     Sort   // "" = ByName
	Limit    int    // at least 1
	Continue string // Page.Continue of the part before; "" = from the start
}

// Page is a part of a list.
type Page struct {
	Items      []Item
	Continue   string // "" at the end
	Position   uint64 // every change up to it is in the answer
	Incomplete bool   // the index is full: some shadows are not in it
	Read       int    // documents that were read
}

// ErrContinue: the token to go on with is not of such a list.
var ErrContinue = errors.New("continue is not a token from an earlier part of this list")

// MaxRead is how many documents one question reads at most; small ones take some
// 4 µs each from an embedded store. A list then ends early, maybe with no item,
// and can be continued.
const MaxRead = 10_000

// List answers a question. Who may not ask about everything gets an error.
func (ix *Index) List(ctx context.Context, p identity.Principal, q Query) (*Page, error) {
	at, err := ix.begin(p, q)
	if err != nil {
		return nil, err
	}
	m := compile(q.Selector, ix.cfg.Now())
	if q.Kind != "" {
		kind := kindTest(Requirement{Op: Equal, Values: []string{string(q.Kind)}})
		m.tests = slices.Insert(m.tests, 0, kind)
	}
	page := &Page{Items: make([]Item, 0, min(q.Limit, 1000))}
	ix.mu.RLock()
	page.Position, page.Incomplete = ix.position, ix.incomplete
	ix.mu.RUnlock()
	switch {
	case len(m.docs) > 0:
		err = ix.listDocuments(ctx, documentList{page: page, q: q, at: at, m: m, p: p})
	case q.Sort == ByPending:
		ix.listPending(page, q, at, m)
	default:
		ix.listNames(page, q, at, m)
	}
	if err != nil {
		return nil, err
	}
	return page, ctx.Err()
}

// begin checks a question and waits until everything committed before is in.
func (ix *Index) begin(p identity.Principal, q Query) (cursor, error) {
	if err := ix.docs.MayList(p); err != nil {
		return cursor{}, err
	}
	if err := ix.Ready(); err != nil {
		return cursor{}, err
	}
	at, err := parseCursor(q.Continue, q.Sort)
	if err != nil {
		return cursor{}, err
	}
	if q.Sort == ByPending && !q.Selector.Indexed() {
		return cursor{}, &SelectorError{Position: 1, Message: "a list in order of pendingSince can't be selected by what documents hold", Allowed: "indexed keys"}
	}
	ix.drain()
	return at, nil
}

// listNames takes rows from a place on until the page is full.
func (ix *Index) listNames(page *Page, q Query, at cursor, m matcher) {
	ix.walk(at.key, func(r *row) bool {
		if !m.row(r) {
			return true
		}
		if len(page.Items) == q.Limit {
			page.Continue = cursorOf(page.Items[q.Limit-1], q.Sort).String()
			return false
		}
		page.Items = append(page.Items, r.item())
		return true
	})
}

// walk visits the rows after a key in order, until visit says that it is enough.
// It lets changes in between blocks, so no more than one block is of one moment.
func (ix *Index) walk(after store.Key, visit func(*row) bool) {
	for more := true; more; {
		ix.mu.RLock()
		more = ix.walkBlock(&after, visit)
		ix.mu.RUnlock()
	}
}

func (ix *Index) walkBlock(after *store.Key, visit func(*row) bool) (more bool) {
	b, i, found := ix.rows.find(*after)
	if found {
		i++
	}
	if b < len(ix.rows.blocks) && i >= len(ix.rows.blocks[b]) {
		b, i = b+1, 0
	}
	for blocks := 0; b < len(ix.rows.blocks) && blocks < 2; b, i, blocks = b+1, 0, blocks+1 {
		block := ix.rows.blocks[b]
		for ; i < len(block); i++ {
			if !visit(&block[i]) {
				return false
			}
		}
		*after = block[len(block)-1].key()
	}
	return b < len(ix.rows.blocks)
}

// listPending keeps the limit of rows that come first while it walks over all.
func (ix *Index) listPending(page *Page, q Query, at cursor, m matcher) {
	best := make([]cursorItem, 0, q.Limit+1)
	ix.walk(store.Key{}, func(r *row) bool {
		if r.converged || !m.row(r) {
			return true
		}
		c := cursor{sort: ByPending, since: r.since, key: r.key()}
		if q.Continue != "" && c.compare(at) <= 0 {
			return true
		}
		if len(best) > q.Limit && c.compare(best[q.Limit].cursor) >= 0 {
			return true
		}
		i, _ := slices.BinarySearchFunc(best, c, func(x cursorItem, c cursor) int { return x.cursor.compare(c) })
		best = slices.Insert(best, i, cursorItem{c, r.item()})
		best = best[:min(len(best), q.Limit+1)]
		return true
	})
	if len(best) > q.Limit {
		best = best[:q.Limit]
		page.Continue = best[q.Limit-1].cursor.String()
	}
	for _, b := range best {
		page.Items = append(page.Items, b.item)
	}
}

type cursorItem struct {
	cursor cursor
	item   Item
}

// cursor is a place in a list: the last row before it.
type cursor struct {
	sort  Sort
	since int64
	key   store.Key
}

func (c cursor) compare(o cursor) int {
	return cmp.Or(cmp.Compare(c.since, o.since), c.key.Compare(o.key))
}

func cursorOf(it Item, s Sort) cursor {
	shadowName := it.Name
	switch it.Kind {
	case schema.KindNode:
		shadowName = ""
	case schema.KindApplication:
		shadowName = schema.AppPrefix + it.Name
	case schema.KindPolicy:
		shadowName = schema.PolicyPrefix + it.Name
	}
	return cursor{sort: s, since: it.PendingSince, key: store.Key{Thing: it.Node, Shadow: shadowName}}
}

// String hides the place, so that what it is made of can change.
func (c cursor) String() string {
	since := ""
	if c.sort == ByPending {
		since = strconv.FormatInt(c.since, 10)
	}
	return base64.RawURLEncoding.EncodeToString([]byte(since + "\x00" + c.key.Thing + "\x00" + c.key.Shadow))
}

func parseCursor(token string, s Sort) (c cursor, err error) {
	c.sort = s
	if token == "" {
		return c, nil
	}
	raw, err := base64.RawURLEncoding.DecodeString(token)
	parts := strings.Split(string(raw), "\x00")
	if err != nil || len(parts) != 3 || parts[1] == "" || (parts[0] != "") != (s == ByPending) {
		return c, ErrContinue
	}
	if s == ByPending {
		if c.since, err = strconv.ParseInt(parts[0], 10, 64); err != nil {
			return c, ErrContinue
		}
	}
	c.key = store.Key{Thing: parts[1], Shadow: parts[2]}
	return c, nil
}
