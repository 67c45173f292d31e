package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"gnomon/cloud/store"
	"gnomon/cloud/store/redis/redistest"
	"gnomon/cloud/store/storetest"
)

// lossy loses the answers to pipelines, or the pipelines themselves.
type lossy struct {
	answers  atomic.Int32 // how many of the next to lose after they were run
	requests atomic.Int32 // how many of the next to lose before
	between  func()       // called after an answer was lost
}

func (*lossy) DialHook(next goredis.DialHook) goredis.DialHook          { return next }
func (*lossy) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook { return next }

func (l *lossy) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		lose := l.requests.Add(-1) >= 0
		if !lose {
			err := next(ctx, cmds)
			if l.answers.Add(-1) < 0 {
				return err
			}
			if l.between != nil {
				l.between()
			}
		}
		for _, cmd := range cmds {
			cmd.SetErr(io.ErrUnexpectedEOF)
		}
		return io.ErrUnexpectedEOF
	}
}

func chainOf(thing string, n int, base string) (records []store.Record) {
	for i := range n {
		next := fmt.Sprint(base, ".", i)
		r := store.Record{Key: store.Key{Thing: thing}, Data: []byte(next), Base: store.SumOf([]byte(base))}
		if base == "" {
			r.Base = store.None
		}
		records = append(records, r)
		base = next
	}
	return records
}

// submitAll queues changes and returns their results, in the order they came.
func submitAll(t *testing.T, s *Store, records []store.Record) func() []error {
	t.Helper()
	results := make([]error, len(records))
	var wg sync.WaitGroup
	for i, r := range records {
		wg.Add(1)
		if err := s.Submit(ctx, []store.Record{r}, func(err error) { results[i] = err; wg.Done() }); err != nil {
			t.Fatal(err)
		}
	}
	return func() []error { wg.Wait(); return results }
}

// Scripts whose answers were lost are neither done twice nor called conflicts
// with themselves.
func TestLostAnswers(t *testing.T) {
	server := redistest.Start(t)
	for _, lost := range []int32{1, 2, 3} {
		for _, requests := range []int32{0, 1} {
			s := running(t, Config{URL: empty(server.URL)})
			storetest.Put(t, s, store.Record{Key: store.Key{Thing: "warm"}, Data: []byte("1")})
			l := &lossy{}
			l.answers.Store(lost)
			l.requests.Store(requests)
			s.commits.AddHook(l)
			for i, err := range submitAll(t, s, chainOf("x", 20, ""))() {
				if err != nil {
					t.Errorf("%d answers and %d requests lost: change %d: %v", lost, requests, i, err)
				}
			}
			data, err := s.Load(ctx, store.Key{Thing: "x"})
			if want := chainOf("x", 20, "")[19].Data; err != nil || string(data) != string(want) {
				t.Errorf("got %q, %v, want %q", data, err, want)
			}
		}
	}
}

// When an answer was lost and another writer came after it, what became of the
// change isn't known, and that is what is said.
func TestLostAnswerThenAnother(t *testing.T) {
	server := redistest.Start(t)
	url := empty(server.URL)
	s, other := running(t, Config{URL: url}), running(t, Config{URL: url})
	storetest.Put(t, s, store.Record{Key: store.Key{Thing: "x"}, Data: []byte("0")})
	l := &lossy{between: func() {
		storetest.Put(t, other, store.Record{Key: store.Key{Thing: "x"}, Data: []byte("other")})
	}}
	l.answers.Store(1)
	s.commits.AddHook(l)
	err := submitAll(t, s, []store.Record{{Key: store.Key{Thing: "x"}, Data: []byte("1"), Base: store.SumOf([]byte("0"))}})()[0]
	if err == nil || errors.Is(err, store.ErrConflict) {
		t.Errorf("told %v", err)
	}
}

// A server that forgets the script, as one that was restarted does, is given it
// again.
func TestForgottenScript(t *testing.T) {
	server := redistest.Start(t)
	s := running(t, Config{URL: empty(server.URL)})
	for i := range 3 {
		if answer := server.Do("SCRIPT", "FLUSH"); answer != "OK" {
			t.Fatal(answer)
		}
		for j, err := range submitAll(t, s, chainOf(fmt.Sprint("x", i), 30, ""))() {
			if err != nil {
				t.Errorf("change %d: %v", j, err)
			}
		}
	}
}

// What was reported done is there after the server was killed, again and again,
// and the store goes on by itself.
func TestServerKilled(t *testing.T) {
	server := redistest.Start(t)
	s := running(t, Config{URL: empty(server.URL), RetryFor: 50 * time.Millisecond})
	const writers, rounds = 8, 4
	var stop atomic.Bool
	var done [writers]atomic.Int64
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			key := store.Key{Thing: fmt.Sprint("t", w)}
			for i := int64(1); !stop.Load(); i++ {
				result := make(chan error, 1)
				if err := s.Submit(ctx, []store.Record{{Key: key, Data: fmt.Append(nil, i)}}, func(err error) { result <- err }); err != nil {
					t.Error(err)
					return
				}
				if <-result == nil {
					done[w].Store(i)
				}
			}
		})
	}
	progress := func() {
		before := done[0].Load()
		for deadline := time.Now().Add(20 * time.Second); done[0].Load() < before+20; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Error("nothing is committed any more")
				return
			}
		}
	}
	for range rounds {
		progress()
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond)
		server.Kill()
		var promised [writers]int64
		for w := range done {
			promised[w] = done[w].Load()
		}
		server.Again()
		for w, want := range promised {
			data, err := s.Load(ctx, store.Key{Thing: fmt.Sprint("t", w)})
			var got int64
			if _, scan := fmt.Sscan(string(data), &got); err != nil || scan != nil || got < want {
				t.Errorf("t%d is %q (%v) after a restart, %d was reported done", w, data, err, want)
			}
		}
	}
	progress()
	stop.Store(true)
	wg.Wait()
	if err := s.Err(); err != nil { // the last change was answered
		t.Errorf("the server is back, and Err says %v", err)
	}
}

// A store says so when its server is away, and answers what it has accepted.
func TestServerAway(t *testing.T) {
	server := redistest.Start(t)
	s := running(t, Config{URL: empty(server.URL), RetryFor: time.Millisecond})
	storetest.Put(t, s, store.Record{Key: store.Key{Thing: "x"}, Data: []byte("1")})
	server.Kill()
	for _, err := range submitAll(t, s, chainOf("y", 10, ""))() {
		if err == nil || errors.Is(err, store.ErrConflict) {
			t.Errorf("told %v", err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); s.Err() == nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("Err says nothing")
		}
	}
	if _, err := s.Load(ctx, store.Key{Thing: "x"}); err == nil || errors.Is(err, store.ErrNotFound) {
		t.Errorf("load: %v", err)
	}
	server.Again()
	for deadline := time.Now().Add(20 * time.Second); s.Err() != nil; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("still away: %v", s.Err())
		}
	}
}

// A thing whose index entry was lost is entered again by a writer that hasn't
// entered it of late; one that was entered and never written is not listed.
func TestIndexRepair(t *testing.T) {
	server := redistest.Start(t)
	url := empty(server.URL)
	s := running(t, Config{URL: url})
	for i := range 300 {
		storetest.Put(t, s, store.Record{Key: store.Key{Thing: fmt.Sprintf("t%03d", i)}, Data: []byte("1")})
	}
	for _, limit := range []int{1, 7, 100, 300, 1000} {
		var all []string
		for from := ""; ; {
			names, err := s.Things(ctx, from, limit)
			if err != nil || len(names) > limit {
				t.Fatalf("%d names, %v", len(names), err)
			}
			all = append(all, names...)
			if len(names) < limit {
				break
			}
			from = names[len(names)-1] + "\x00"
		}
		if len(all) != 300 || !strings.HasSuffix(strings.Join(all, " "), "t298 t299") {
			t.Errorf("%d things in pages of %d", len(all), limit)
		}
	}
	if err := s.client.Del(ctx, s.keys.bucket(bucketOf("t007"))).Err(); err != nil {
		t.Fatal(err)
	}
	if err := s.client.ZAdd(ctx, s.keys.bucket(bucketOf("ghost")), goredis.Z{Member: "ghost"}).Err(); err != nil {
		t.Fatal(err)
	}
	storetest.Put(t, running(t, Config{URL: url}), store.Record{Key: store.Key{Thing: "t007"}, Data: []byte("2")})
	names, err := s.Things(ctx, "t007", 1)
	if err != nil || fmt.Sprint(names) != "[t007]" {
		t.Errorf("%v, %v", names, err)
	}
	if names, err = s.Things(ctx, "ghost", 1); err != nil || len(names) != 1 || names[0] == "ghost" {
		t.Errorf("%v, %v", names, err)
	}
	if records, err := s.Scan(ctx, store.Key{Thing: "ghost"}, 5); err != nil || len(records) != 5 || records[0].Key.Thing == "ghost" {
		t.Errorf("%v, %v", records, err)
	}
}

func TestURLs(t *testing.T) {
	for _, good := range []string{
		"redis://localhost:6379", "redis://u:p%40w@h:1/2?prefix=a&read_timeout=3s", "rediss://h:1/0",
		"redis+cluster://h1:1,h2:2", "redis+cluster://u:p@h1:1/?prefix=x", "rediss+cluster://h1:1",
		"redis+sentinel://h1:1,h2:2/main", "redis+sentinel://:p@h1:1/main/3?prefix=y",
	} {
		a, err := parseURL(&Config{URL: good})
		if err != nil {
			t.Errorf("%s: %v", good, err)
			continue
		}
		for _, commits := range []bool{false, true} {
			if err := a.make(commits).Close(); err != nil {
				t.Errorf("%s: %v", good, err)
			}
		}
	}
	for _, bad := range []string{
		"", "localhost:6379", "http://h", "redis://", "redis://a:1,b:2", "redis+cluster://", "redis+cluster://h:1/3",
		"redis+sentinel://h:1", "redis://h:1/0?prefix={a}", "redis://h:1/0?nonsense=1", "redis://h:1/x",
	} {
		if _, err := parseURL(&Config{URL: bad}); err == nil {
			t.Errorf("%s: no error", bad)
		}
	}
	if _, err := parseURL(&Config{URL: "redis://u:secret%zz@h:1"}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("got %v", err)
	}
}
