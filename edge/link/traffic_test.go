package link

import (
	"fmt"
	"slices"
	"sync"
	"testing"
)

// freight is Traffic that notes what is asked of it.
type freight struct {
	mu    sync.Mutex
	out   []Message
	in    []string
	ups   []bool
	topic string
}

func (f *freight) Filters() []string { return []string{f.topic + "/in"} }

func (f *freight) Online(up bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ups = append(f.ups, up)
}

func (f *freight) Send() *Message {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.out) == 0 {
		return nil
	}
	m := f.out[0]
	f.out = f.out[1:]
	return &m
}

func (f *freight) Receive(topic string, payload []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.in = append(f.in, topic+" "+string(payload))
}

func (f *freight) load(topics ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, topic := range topics {
		f.out = append(f.out, Message{topic, []byte("x")})
	}
}

func (f *freight) seen() (in []string, ups []bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.in), slices.Clone(f.ups)
}

// Other traffic goes over the same connection once it has synced, comes in by its
// own topics, and hears that the connection is lost and there again.
func TestLink_Traffic(t *testing.T) {
	c := newCloud(t)
	f := &freight{topic: "things/n1/other"}
	var mu sync.Mutex
	var came []string
	c.other = func(topic string) {
		mu.Lock()
		defer mu.Unlock()
		came = append(came, topic)
	}
	got := func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(came)
	}
	f.load("things/n1/other/0")
	n := start(t, c, t.TempDir(), func(cfg *Config) { cfg.Traffic = f })
	n.synced()
	until(t, "what waited for the connection", func() bool { return slices.Equal(got(), []string{"things/n1/other/0"}) })
	var want []string
	for i := range 5 {
		want = append(want, fmt.Sprint("things/n1/other/", i))
	}
	f.load(want[1:]...)
	n.Nudge()
	until(t, "all of it, in order", func() bool { return slices.Equal(got(), want) })
	c.publish("things/n1/other/in", []byte("hello"))
	until(t, "a message", func() bool { in, _ := f.seen(); return slices.Equal(in, []string{"things/n1/other/in hello"}) })
	c.cut()
	until(t, "the connection to be back", func() bool { _, ups := f.seen(); return slices.Equal(ups, []bool{true, false, true}) })
	c.publish("things/n1/other/in", []byte("again"))
	until(t, "another message", func() bool { in, _ := f.seen(); return len(in) == 2 })
}
