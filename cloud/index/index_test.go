package index

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a store and its documents, of which an index is told.
type world struct {
	docs   map[store.Key]*shadow.Document
	now    int64
	onScan func()
	tell   func(store.Key, *shadow.Document, uint64)
	commit uint64
	stored [][]byte // of the benchmarks
}

func newWorld() *world {
	return &world{docs: make(map[store.Key]*shadow.Document), now: 1000, onScan: func() {}}
}

func (w *world) MayList(p identity.Principal) error {
	if p.Kind != identity.Operator {
		return errors.New("forbidden")
	}
	return nil
}

func (w *world) Peek(_ context.Context, _ identity.Principal, key store.Key) (*shadow.Document, error) {
	return w.docs[key], nil
}

func (w *world) Scan(_ context.Context, from store.Key, limit int) (list []store.Record, err error) {
	for _, key := range slices.SortedFunc(maps.Keys(w.docs), store.Key.Compare) {
		if key.Compare(from) >= 0 && len(list) < limit {
			list = append(list, store.Record{Key: key, Data: w.docs[key].AppendRecord(nil)})
		}
	}
	w.onScan()
	return list, nil
}

func (w *world) Load(_ context.Context, key store.Key) ([]byte, error) {
	if w.docs[key] == nil {
		return nil, store.ErrNotFound
	}
	return w.docs[key].AppendRecord(nil), nil
}

// put makes the next version of a document and tells of it.
func (w *world) put(t interface{ Fatal(...any) }, key store.Key, state string) {
	u, err := shadow.ParseUpdate([]byte(`{"state":`+state+`}`), shadow.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	next, err := w.docs[key].Apply(u, w.now, shadow.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	w.set(key, next)
}

func (w *world) delete(key store.Key) {
	if next, err := w.docs[key].Delete(nil, w.now); err == nil {
		w.set(key, next)
	}
}

func (w *world) set(key store.Key, d *shadow.Document) {
	w.docs[key] = d
	w.commit++
	if w.tell != nil {
		w.tell(key, d, w.commit)
	}
}

// indexOf builds an index of the world as it is and tells it of what comes.
func (w *world) indexOf(t interface{ Fatal(...any) }) *Index {
	ix := New(Config{Store: w, Now: func() time.Time { return time.Unix(w.now, 0) }})
	ix.SetDocuments(w)
	if err := ix.build(context.Background()); err != nil {
		t.Fatal(err)
	}
	return ix
}

// all reads a list to its end in parts.
func all(t interface{ Fatal(...any) }, ix *Index, q Query) (items []Item) {
	for {
		p, err := ix.List(context.Background(), identity.LocalOperator, q)
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, p.Items...)
		if q.Continue = p.Continue; q.Continue == "" {
			return items
		}
	}
}

func sel(t interface{ Fatal(...any) }, text string) Selector {
	s, err := ParseSelector(text)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func names(items []Item) (all []string) {
	for _, it := range items {
		all = append(all, it.Node+"/"+it.Name)
	}
	return all
}

// fleet is a small world with one of everything.
func fleet(t *testing.T) *world {
	w := newWorld()
	w.put(t, store.Key{Thing: "n1"}, `{"desired":{"node":{"site":"s1","labels":{"zone":"east","rack":"7"}}}}`)
	w.put(t, store.Key{Thing: "n2"}, `{"desired":{"node":{"site":"s2","labels":{"zone":"west"}}},"reported":{"node":{"site":"s2","labels":{"zone":"west"},"observedVersion":1}}}`)
	w.put(t, store.Key{Thing: "device"}, `{"reported":{"t":21.5}}`)
	w.put(t, store.Key{Thing: "device", Shadow: "config"}, `{"desired":{"a":1}}`)
	web := `"component":"web@1.0.0"`
	w.put(t, store.Key{Thing: "n1", Shadow: "app:web"}, `{"desired":{`+web+`},"reported":{`+web+`,"phase":"running","observedVersion":1}}`)
	w.now += 300
	w.put(t, store.Key{Thing: "n2", Shadow: "app:web"}, `{"desired":{"component":"web@2.0.0","run":{"env":{"A":"1"}}},"reported":{"phase":"failed","error":{"code":"fetch","message":"no"}}}`)
	w.put(t, store.Key{Thing: "n2", Shadow: "collect:meter"}, `{"desired":{"period":"10s"}}`)
	w.now += 600
	return w
}

func TestList_Selectors(t *testing.T) {
	w := fleet(t)
	ix := w.indexOf(t)
	for _, tt := range []struct {
		selector string
		kind     schema.Kind
		want     []string
	}{
		{"", "", []string{"device/", "device/config", "n1/n1", "n1/web", "n2/n2", "n2/web", "n2/meter"}},
		{"", schema.KindApplication, []string{"n1/web", "n2/web"}},
		{"kind in (policy,shadow)", "", []string{"device/", "device/config", "n2/meter"}},
		{"zone=east", schema.KindApplication, []string{"n1/web"}},
		{"zone!=east", schema.KindApplication, []string{"n2/web"}},
		{"!zone", "", []string{"device/", "device/config"}},
		{"rack>5", "", []string{"n1/n1", "n1/web"}},
		{"rack", schema.KindNode, []string{"n1/n1"}},
		{"site in (s1,s2),converged", "", []string{"n1/web", "n2/n2"}},
		{"!converged", schema.KindNode, []string{"n1/n1"}},
		{"converged=false,node^=n", "", []string{"n1/n1", "n2/web", "n2/meter"}},
		{"phase notin (running)", schema.KindApplication, []string{"n2/web"}},
		{"error", "", []string{"n2/web"}},
		{"error=fetch,component^=web@2", "", []string{"n2/web"}},
		{"name=web,node=n1", "", []string{"n1/web"}},
		{"pendingFor>10m", "", []string{"device/config", "n1/n1"}},
		{"pendingFor>=10m", "", []string{"device/config", "n1/n1", "n2/web", "n2/meter"}},
		{"desired.run.env.A=1", "", []string{"n2/web"}},
		{"reported.t>21,reported.t<22", "", []string{"device/"}},
		{"!reported.phase,desired", "", nil},
		{"!reported.phase,kind=policy", "", []string{"n2/meter"}},
		{"desired.component!=web@1.0.0,kind=application", "", []string{"n2/web"}},
		{"desired.node.labels.*=west", "", []string{"n2/n2"}},
	} {
		s, err := ParseSelector(tt.selector)
		if err != nil {
			if tt.want != nil {
				t.Error(err)
			}
			continue
		}
		for _, limit := range []int{1, 2, 100} {
			if got := names(all(t, ix, Query{Kind: tt.kind, Selector: s, Limit: limit})); !slices.Equal(got, tt.want) {
				t.Errorf("%q, limit %d: %v, want %v", tt.selector, limit, got, tt.want)
			}
		}
	}
	got := all(t, ix, Query{Selector: sel(t, "name=web,node=n2"), Limit: 1})[0]
	want := Item{Node: "n2", Kind: "application", Name: "web", Site: "s2", Phase: "failed", PendingSince: 1300,
		Component: "web@2.0.0", Version: 1, DesiredVersion: 1, Error: "fetch"}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// What has been pending longest comes first, in parts too.
func TestList_ByPending(t *testing.T) {
	ix := fleet(t).indexOf(t)
	for _, limit := range []int{1, 3, 9} {
		if got := names(all(t, ix, Query{Sort: ByPending, Limit: limit})); !slices.Equal(got, []string{"device/config", "n1/n1", "n2/web", "n2/meter"}) {
			t.Errorf("limit %d: %v", limit, got)
		}
	}
	_, err := ix.List(context.Background(), identity.LocalOperator, Query{Sort: ByPending, Limit: 1, Selector: sel(t, "desired.a")})
	var refused *SelectorError
	if !errors.As(err, &refused) {
		t.Errorf("by pending and by documents: %v", err)
	}
}

func TestCount(t *testing.T) {
	ix := fleet(t).indexOf(t)
	count := func(by, selector string, limit int) *Counts {
		c, err := ix.Count(context.Background(), identity.LocalOperator, Counting{By: by, Selector: sel(t, selector), Limit: limit})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := count("component", "kind=application", 10); len(c.Groups) != 2 || c.Groups[0] != (Group{"web@1.0.0", 1, 1}) || c.Total != (Group{"", 2, 1}) {
		t.Errorf("by component: %+v", c)
	}
	if c := count("label.zone", "", 1); len(c.Groups) != 1 || c.Groups[0] != (Group{"west", 3, 1}) || c.Other != (Group{"", 4, 2}) {
		t.Errorf("by zone: %+v", c)
	}
	if c := count("kind", "", 10); len(c.Groups) != 4 {
		t.Errorf("by kind: %+v", c)
	}
	for _, by := range []string{"name", "pendingFor", "desired.a", "a,b", `"`} {
		if _, err := ix.Count(context.Background(), identity.LocalOperator, Counting{By: by, Limit: 1}); err == nil {
			t.Errorf("counted by %s", by)
		}
	}
}

// Of values without end only so many are told apart.
func TestCount_Bounded(t *testing.T) {
	w := newWorld()
	ix := w.indexOf(t)
	const things = maxGroups + 50
	for i := range things {
		w.tell = ix.Committed
		w.put(t, store.Key{Thing: fmt.Sprintf("n%06d", i)}, fmt.Sprintf(`{"desired":{"node":{"labels":{"serial":"%d"}}}}`, i))
	}
	c, err := ix.Count(context.Background(), identity.LocalOperator, Counting{By: "label.serial", Limit: 3})
	if err != nil || len(c.Groups) != 3 || c.Other.Count != things-3 || c.Total.Count != things {
		t.Errorf("%d groups, other %+v, %v", len(c.Groups), c.Other, err)
	}
}

// Nobody but an operator asks about everything, and nobody before it is whole.
func TestList_Refused(t *testing.T) {
	w := fleet(t)
	ix := w.indexOf(t)
	if _, err := ix.List(context.Background(), identity.Principal{Kind: identity.Thing, Name: "n1"}, Query{Limit: 1}); err == nil {
		t.Error("a thing listed everything")
	}
	for _, q := range []Query{{Limit: 1, Continue: "!"}, {Limit: 1, Continue: cursor{sort: ByPending, since: 5, key: store.Key{Thing: "a"}}.String()}} {
		if _, err := ix.List(context.Background(), identity.LocalOperator, q); !errors.Is(err, ErrContinue) {
			t.Errorf("%s: %v", q.Continue, err)
		}
	}
	fresh := New(Config{Store: w})
	fresh.SetDocuments(w)
	if _, err := fresh.List(context.Background(), identity.LocalOperator, Query{Limit: 1}); !errors.Is(err, ErrBuilding) || fresh.Ready() == nil {
		t.Errorf("not built: %v", err)
	}
}

// A list goes on at a key: what is written in between neither hides nor repeats
// what was there all along.
func TestList_ContinuesThroughWrites(t *testing.T) {
	w := newWorld()
	ix := w.indexOf(t)
	w.tell = ix.Committed
	for i := range 2000 {
		w.put(t, store.Key{Thing: fmt.Sprintf("n%04d", 2*i)}, `{"desired":{"node":{}}}`)
	}
	seen := make(map[string]int)
	q := Query{Limit: 37}
	for round := 0; ; round++ {
		p, err := ix.List(context.Background(), identity.LocalOperator, q)
		if err != nil {
			t.Fatal(err)
		}
		for _, it := range p.Items {
			seen[it.Node]++
		}
		if q.Continue = p.Continue; q.Continue == "" {
			break
		}
		w.put(t, store.Key{Thing: fmt.Sprintf("n%04d", 61*round%4000|1)}, `{"desired":{"node":{}}}`)
		w.delete(store.Key{Thing: p.Items[len(p.Items)-1].Node}) // the very place to go on at
	}
	for i := range 2000 {
		if n := seen[fmt.Sprintf("n%04d", 2*i)]; n != 1 {
			t.Errorf("n%04d came %d times", 2*i, n)
		}
	}
}

// At its limit the index says that it is incomplete.
func TestIndex_Full(t *testing.T) {
	w := newWorld()
	ix := New(Config{Store: w, MaxShadows: 10})
	ix.SetDocuments(w)
	if err := ix.build(context.Background()); err != nil {
		t.Fatal(err)
	}
	w.tell = ix.Committed
	for i := range 12 {
		w.put(t, store.Key{Thing: fmt.Sprint(i)}, `{"reported":{"a":1}}`)
	}
	p, err := ix.List(context.Background(), identity.LocalOperator, Query{Limit: 100})
	if err != nil || !p.Incomplete || len(p.Items) != 10 || p.Position != 12 {
		t.Errorf("%+v, %v", p, err)
	}
}

// What is deleted while the store is read stays deleted, and what is newer stays.
func TestBuild_DuringChanges(t *testing.T) {
	w := fleet(t)
	ix := New(Config{Store: w})
	ix.SetDocuments(w)
	w.onScan = func() {
		w.tell = ix.Committed
		w.delete(store.Key{Thing: "n2", Shadow: "app:web"})
		w.put(t, store.Key{Thing: "n1", Shadow: "app:web"}, `{"reported":{"phase":"stopped"}}`)
		ix.drain() // before the records that were read
	}
	if err := ix.build(context.Background()); err != nil {
		t.Fatal(err)
	}
	got := all(t, ix, Query{Kind: schema.KindApplication, Limit: 9})
	if len(got) != 1 || got[0].Phase != "stopped" {
		t.Errorf("%+v", got)
	}
}

func TestWait(t *testing.T) {
	w := fleet(t)
	ix := New(Config{Store: w})
	ctx, cancel := context.WithCancel(context.Background())
	running := make(chan error, 1)
	go func() { running <- ix.Run(ctx) }()
	key := store.Key{Thing: "n1", Shadow: "app:web"}
	if err := ix.Wait(ctx, key, 1); err != nil { // as it is in the store
		t.Fatal(err)
	}
	waited := make(chan error, 1)
	go func() { waited <- ix.Wait(ctx, key, 2) }()
	w.tell = ix.Committed
	w.put(t, key, `{"desired":{"a":1}}`)
	if err := <-waited; err != nil {
		t.Error(err)
	}
	cancel()
	if err := ix.Wait(ctx, key, 3); !errors.Is(err, context.Canceled) {
		t.Errorf("what never comes: %v", err)
	}
	if err := <-running; err != nil {
		t.Error(err)
	}
}

// Changes are selected by what they say themselves and what is known of their
// shadow, and when that is gone, of its node.
func TestFilter(t *testing.T) {
	w := fleet(t)
	ix := w.indexOf(t)
	w.tell = ix.Committed
	web := store.Key{Thing: "n1", Shadow: "app:web"}
	selected := func(selector string, key store.Key, phase string, converged bool) bool {
		f, err := ix.Filter(sel(t, selector))
		if err != nil {
			t.Fatal(err)
		}
		return f(key, phase, converged)
	}
	check := func(when string, want bool, selector string, key store.Key) {
		t.Helper()
		if selected(selector, key, "failed", false) != want {
			t.Errorf("%s: %s is %v", when, selector, !want)
		}
	}
	check("of the change itself", true, "phase=failed,!converged", web)
	check("of the row", true, "zone=east,component=web@1.0.0,kind=application,name=web", web)
	check("of another zone", false, "zone=west", web)
	w.delete(web)
	check("of the node of what is gone", true, "zone=east,site=s1,kind=application,name=web", web)
	check("of what is gone itself", false, "component", web)
	check("of a thing that never was", true, "node=n9,!zone,kind=policy", store.Key{Thing: "n9", Shadow: "collect:x"})
	for _, refused := range []string{"pendingFor>1m", "desired.a", "!reported.a"} {
		if _, err := ix.Filter(sel(t, refused)); err == nil {
			t.Errorf("%s is a filter", refused)
		}
	}
	if _, err := New(Config{Store: w}).Filter(sel(t, "zone=east")); !errors.Is(err, ErrBuilding) {
		t.Errorf("before it is built: %v", err)
	}
}

// What others do to a shared store is known after a look or a refresh.
func TestRefresh(t *testing.T) {
	w := fleet(t)
	ix := New(Config{Store: w, Refresh: time.Hour})
	ix.SetDocuments(w)
	if err := ix.build(context.Background()); err != nil {
		t.Fatal(err)
	}
	web := store.Key{Thing: "n1", Shadow: "app:web"}
	w.put(t, web, `{"reported":{"phase":"stopped"}}`)
	if err := ix.Wait(context.Background(), web, 2); err != nil {
		t.Error(err)
	}
	if got := all(t, ix, Query{Selector: sel(t, "phase=stopped"), Limit: 9}); len(got) != 1 {
		t.Errorf("after a look: %+v", got)
	}
	w.delete(web)
	w.put(t, store.Key{Thing: "n3"}, `{"desired":{"node":{}}}`)
	if err := ix.build(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := names(all(t, ix, Query{Selector: sel(t, "node in (n1,n3)"), Limit: 9})); !slices.Equal(got, []string{"n1/n1", "n3/n3"}) {
		t.Errorf("after a refresh: %v", got)
	}
}

// Whatever happened, an index that was told of it says the same as one that
// reads the store afterwards, but for what only the former can know: since when
// what is pending has been.
func TestIndex_LikeRebuilt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		live := w.indexOf(t)
		w.tell = live.Committed
		for range rapid.IntRange(0, 60).Draw(t, "changes") {
			w.now += int64(rapid.IntRange(0, 5).Draw(t, "seconds"))
			key := store.Key{
				Thing:  rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "thing"),
				Shadow: rapid.SampledFrom([]string{"", "app:x", "collect:y", "z"}).Draw(t, "shadow"),
			}
			state := rapid.SampledFrom([]string{"", `{"desired":{"component":"x@1"}}`, `{"desired":{"component":null}}`, `{"desired":{"node":{"site":"s","labels":{"l":"1"}}}}`,
				`{"desired":{"node":{"labels":{"l":null,"m":"2"}}}}`, `{"reported":{"component":"x@1","phase":"running","observedVersion":100}}`,
				`{"reported":{"error":{"code":"e"}}}`, `{"reported":{"error":null}}`, `{"reported":{"node":{"site":"s","labels":{"l":"1"},"observedVersion":90}}}`}).Draw(t, "state")
			if state == "" {
				w.delete(key)
			} else {
				w.put(t, key, state)
			}
		}
		w.tell = nil
		rebuilt := w.indexOf(t)
		q := Query{Selector: selectors().Filter(Selector.Indexed).Draw(t, "selector"), Limit: rapid.IntRange(1, 5).Draw(t, "limit")}
		q.Selector = slices.DeleteFunc(q.Selector, func(r Requirement) bool { return r.Field == PendingFor })
		got, want := all(t, live, q), all(t, rebuilt, q)
		for i := range got {
			if got[i].PendingSince > want[min(i, len(want)-1)].PendingSince {
				t.Fatalf("pending since %d, the document says %d", got[i].PendingSince, want[i].PendingSince)
			}
			got[i].PendingSince = 0
		}
		for i := range want {
			want[i].PendingSince = 0
		}
		if !slices.Equal(got, want) {
			t.Fatalf("%s: told of everything %+v, rebuilt %+v", q.Selector, got, want)
		}
	})
}
