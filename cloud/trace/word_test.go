package trace

import (
	"bytes"
	"encoding/hex"
	"testing"
	"time"
)

func TestWord_Golden(t *testing.T) {
	w := word{
		kind: wordDelivered, thing: "edge-1", shadow: "app:web", version: 300, client: "edge-1", persisted: true, again: true,
		sent: Sent{Known: true, Push: 1, Delta: 2, Acknowledging: 3}, at: time.Unix(0, 1_800_000_000_000_000_001),
	}
	const golden = "016407" + "ac02" + "01" + "02" + "03" + "8180d09de9ceb8fd18" + "06656467652d31" + "076170703a776562" + "06656467652d31"
	text := w.append(nil)
	if got := hex.EncodeToString(text); got != golden {
		t.Errorf("a word is %s, was %s", got, golden)
	}
	for _, b := range [][]byte{text, append(bytes.Clone(text), "of a later version"...)} {
		if got, err := parseWord(b); err != nil || got != w {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for n := range text {
		if _, err := parseWord(text[:n]); err == nil {
			t.Errorf("%d bytes of it are a word", n)
		}
	}
	text[0]++
	if err := New(Config{}).Hear(text); err == nil {
		t.Error("another format is understood")
	}
	text[0]--
	text[1] = 'z' // of a later version
	if err := New(Config{}).Hear(text); err != nil {
		t.Error(err)
	}
}

func TestHear(t *testing.T) {
	w := newWorld(t, Config{})
	w.log.Committed(Change{Key: web, Version: 1, Parent: parentA, By: "operator local", Door: HTTP, Written: w.now, Remote: true, Sent: Sent{Known: true}}, Sent{Known: true})
	hear(t, w.log, word{kind: wordSent, thing: "edge-1", shadow: "app:web", version: 1, sent: Sent{Known: true, Push: 1, Acknowledging: 1}})
	hear(t, w.log, word{kind: wordDelivered, thing: "edge-1", shadow: "app:web", version: 1, client: "edge-1", persisted: true, at: w.now.Add(5 * time.Millisecond)})
	hear(t, w.log, word{kind: wordDelivered, thing: "edge-1", shadow: "app:web", version: 7, client: "edge-1"}) // never heard of
	s, _, err := w.log.Story(Question{Key: web, Version: 1}, nil)
	if err == nil {
		t.Error("a change of what isn't there any more", s)
	}
	w.update("", `{"state":{"desired":{"mode":"host","run":{"command":["/x"]}}}}`)
	w.is(w.story(Question{}), `
written done 0 by operator local, HTTP
committed done 0 version 1, at another replica
published done 0 desired push to 1 client
delivered done 5 edge-1 has it on its disk
planned missing - the node has not planned it yet
reported missing -
converged missing -`)
}

func FuzzParseWord(f *testing.F) {
	f.Add(word{kind: wordSent, thing: "a", shadow: "b", version: 1, at: time.Unix(1, 0)}.append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := parseWord(b)
		if err != nil {
			return
		}
		if again, err := parseWord(w.append(nil)); err != nil || again != w {
			t.Fatalf("%+v became %+v, %v", w, again, err)
		}
	})
}
