package mqtt

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/credentials"
	"gnomon/schema"
)

func newDriver(t *testing.T, s schema.Source, dir string) *Driver {
	d := New(Config{Credentials: credentials.Dir(dir), BackoffMin: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond})
	t.Cleanup(func() { d.Release(s) })
	return d
}

// poll returns values as text, or the reasons in brackets.
func poll(t *testing.T, d *Driver, s schema.Source, items ...schema.Item) (map[string]string, collect.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := d.Poll(ctx, collect.Request{Source: s, Meter: schema.Meter{ID: "m", Address: "m"}, Items: items, Priority: 5})
	out := make(map[string]string)
	for name, v := range r.Values {
		if out[name] = v.Value.Text(); v.Value == nil {
			out[name] = "[" + collect.Reason(v.Err) + "]"
		}
	}
	return out, r, err
}

// until polls until an item is as wanted: when a message arrives, nobody tells.
func until(t *testing.T, d *Driver, s schema.Source, it schema.Item, want string) collect.Value {
	t.Helper()
	for limit := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		got, r, err := poll(t, d, s, it)
		if got[it.Name] == want {
			return r.Values[it.Name]
		}
		if time.Now().After(limit) {
			t.Fatalf("%s is %s, want %s: %v %v", it.Name, got[it.Name], want, err, r.Values[it.Name].Err)
		}
	}
}

// The latest counts, with the time it arrived; a retained message that is sent once
// more is as old as it was.
func TestPoll_Latest(t *testing.T) {
	m := startBroker(t, open)
	s := m.source()
	d := newDriver(t, s, "")
	it := item("V", "a", "V")
	dev := m.device("", "")
	before := time.Now()
	dev.say("a", `{"V":1}`, true)
	first := until(t, d, s, it, "1")
	if first.At.Before(before) || first.At.After(time.Now()) {
		t.Errorf("arrived at %v", first.At)
	}
	other := item("W", "a", "W")
	_, _, _ = poll(t, d, s, other) // the topic is subscribed to anew, for what it holds
	if again := until(t, d, s, it, "1"); !again.At.Equal(first.At) {
		t.Errorf("a retained message made the value of %v one of %v", first.At, again.At)
	}
	dev.say("a", `{"V":1}`, false)
	for limit := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if v := until(t, d, s, it, "1"); v.At.After(first.At) {
			break // it was said anew, and is younger
		} else if time.Now().After(limit) {
			t.Fatal("what is said anew stays as old as it was")
		}
	}
	dev.say("a", `{"V":2}`, false)
	until(t, d, s, it, "2")
	dev.say("a", `{"V":null}`, false)
	until(t, d, s, it, "[no-value]")
	dev.say("a", strings.Repeat(" ", maxPayload)+`{"V":3}`, false)
	until(t, d, s, it, "[garbled]")
	dev.say("a", `{"V":4}`, false)
	until(t, d, s, it, "4")
}

// A value that is too old is none; a device that keeps silent is waited for once.
func TestPoll_TooOld(t *testing.T) {
	m := startBroker(t, open)
	s := m.source()
	d := newDriver(t, s, "")
	dev := m.device("", "")
	dev.say("a", "7", true)
	it := item("V", "a", "")
	until(t, d, s, it, "7")
	young := s
	young.MaxAge = schema.Duration(time.Nanosecond)
	got, r, err := poll(t, d, young, it)
	if got["V"] != "[timeout]" || err == nil || !strings.Contains(r.Values["V"].Err.Error(), "1ns at most") {
		t.Errorf("%v: %v, %v", got, err, r.Values["V"].Err)
	}
	if got, _, err := poll(t, d, s, it); got["V"] != "7" || err != nil {
		t.Errorf("another policy lets it be older: %v, %v", got, err)
	}
	short := s
	short.Timeout = schema.Duration(200 * time.Millisecond)
	_, _, _ = poll(t, d, short, item("never", "b", ""))
	since := time.Now()
	for range 20 {
		if got, _, _ := poll(t, d, short, item("never", "b", "")); got["never"] != "[timeout]" {
			t.Errorf("%v", got)
		}
	}
	if took := time.Since(since); took > 2*time.Second {
		t.Errorf("a device that keeps silent is waited for in every poll: %v", took)
	}
}

// The words of devices, and what a topic has besides JSON.
func TestExtract(t *testing.T) {
	for _, c := range []struct {
		payload, path, kind string
		scale               float64
		want                string
	}{
		{`{"a":{"b":[1,2.5]}}`, "a.b.1", "", 1, "2.5"},
		{`{"a":2301}`, "a", "", 0.1, "230.1"},
		{`{"a":"230.1"}`, "a", "", 1, "230.1"},
		{`{"a":18446744073709551615}`, "a", "", 1, "18446744073709551615"},
		{`{"a":true}`, "a", "", 1, "true"},
		{`{"a":"ON"}`, "a", "bool", 1, "true"},
		{`{"a":0}`, "a", "bool", 1, "false"},
		{`{"a":2}`, "a", "bool", 1, "[not-a-number]"},
		{`{"a":"on"}`, "a", "", 1, "[not-a-number]"},
		{`{"a":[]}`, "a", "", 1, "[not-a-number]"},
		{`{"a":null}`, "a", "", 1, "[no-value]"},
		{`{"a":1}`, "b", "", 1, "[no-value]"},
		{`{"a":1e999}`, "a", "", 1, "[not-a-number]"},
		{`{"a":"` + strings.Repeat("9", 100) + `"}`, "a", "", 1, "[not-a-number]"},
		{` 21.5 `, "", "", 1, "21.5"},
		{`OFF`, "", "bool", 1, "false"},
		{`21.5 V`, "", "", 1, "[not-a-number]"},
		{``, "", "", 1, "[not-a-number]"},
		{``, "a", "", 1, "[garbled]"},
		{`{"a":1`, "a", "", 1, "[garbled]"},
		{"\xff\x00", "a", "", 1, "[garbled]"},
		{`{"a":-32768}`, "a", "", 1, "[no-value]"},
	} {
		it := schema.Item{Name: "x", Path: c.path, Type: c.kind, Scale: c.scale, None: "-32768"}
		v := payloadOf([]byte(c.payload)).extract(c.path, time.Now()).value(it, time.Hour, time.Now())
		got := v.Value.Text()
		if v.Err != nil {
			got = "[" + collect.Reason(v.Err) + "]"
		}
		if got != c.want || (v.Value == nil) == (v.Err == nil) {
			t.Errorf("%q at %q: %s, want %s (%v)", c.payload, c.path, got, c.want, v.Err)
		}
	}
}

func FuzzExtract(f *testing.F) {
	f.Add([]byte(`{"a":{"b":[1,2.5]}}`), "a.b.#")
	f.Add([]byte(`[1,"x"]`), "1")
	f.Fuzz(func(t *testing.T, payload []byte, path string) {
		l := payloadOf(payload).extract(path, time.Now())
		v := l.value(schema.Item{Name: "x", Path: path, Scale: 0.1}, time.Hour, time.Now())
		if (v.Value == nil) == (v.Err == nil) || len(l.text) > maxText {
			t.Errorf("%+v of %+v", v, l)
		}
	})
}

// Who isn't let in, or isn't told of a topic, hears so.
func TestPoll_Refused(t *testing.T) {
	dir := t.TempDir()
	passwords := filepath.Join(dir, "passwords")
	if err := os.WriteFile(passwords, []byte("gnomon:hush-hush\nplant:plant\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mosquitto_passwd", "-U", passwords).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	acl := filepath.Join(dir, "acl")
	if err := os.WriteFile(acl, []byte("user gnomon\ntopic read open/#\nuser plant\ntopic readwrite #\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	keep := t.TempDir()
	for name, text := range map[string]string{"right": "{user: gnomon, password: hush-hush}", "wrong": "{user: gnomon, password: other-word}"} {
		if err := os.WriteFile(filepath.Join(keep, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := startBroker(t, "persistence false\nallow_anonymous false\npassword_file "+passwords+"\nacl_file "+acl)
	m.device("plant", "plant").say("open/a", "5", true)
	s := m.source()
	for _, c := range []struct{ credentials, open, secret string }{
		{"right", "5", "[exception]"}, {"wrong", "[credentials]", "[credentials]"}, {"", "[credentials]", "[credentials]"}, {"absent", "[credentials]", "[credentials]"},
	} {
		s.Credentials, s.Timeout = c.credentials, schema.Duration(500*time.Millisecond)
		d := New(Config{Credentials: credentials.Dir(keep), BackoffMin: time.Millisecond, BackoffMax: 10 * time.Millisecond})
		until(t, d, s, item("open", "open/a", ""), c.open)
		got, r, err := poll(t, d, s, item("open", "open/a", ""), item("closed", "secret/a", ""))
		said := fmt.Sprint(err, r.Values["closed"].Err)
		if got["open"] != c.open || got["closed"] != c.secret && (c.credentials != "right" || got["closed"] != "[timeout]") {
			t.Errorf("%q: %v: %s", c.credentials, got, said)
		}
		if strings.Contains(said, "word") && strings.Contains(said, "hush") || strings.Contains(said, "other-word") {
			t.Errorf("it tells the password: %s", said)
		}
		d.Release(s)
	}
}

// A broker over TLS is believed if its certificate is of the authority that the
// credentials name, and not otherwise.
func TestPoll_TLS(t *testing.T) {
	dir := t.TempDir()
	certificate(t, dir)
	m := startBroker(t, open+"\ncafile "+dir+"/cert.pem\ncertfile "+dir+"/cert.pem\nkeyfile "+dir+"/key.pem")
	for name, text := range map[string]string{"right": "ca: " + dir + "/cert.pem", "system": "tls: true", "absent": "ca: " + dir + "/none.pem", "key": "ca: " + dir + "/key.pem"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string]string{"right": "[timeout]", "system": "[link]", "absent": "[credentials]", "key": "[credentials]", "": "[link]"} {
		s := m.source()
		s.Timeout, s.Credentials = schema.Duration(500*time.Millisecond), name
		d := New(Config{Credentials: credentials.Dir(dir), BackoffMin: 10 * time.Millisecond, BackoffMax: 50 * time.Millisecond})
		until(t, d, s, item("x", "nothing", ""), want)
		d.Release(s)
	}
}

func certificate(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "broker"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"cert.pem": {Type: "CERTIFICATE", Bytes: der}, "key.pem": {Type: "EC PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// As many topics are listened to as there is room for; those that nobody has asked
// for in a long time make room.
func TestBroker_Topics(t *testing.T) {
	m := startBroker(t, open)
	s := m.source()
	s.Timeout = schema.Duration(time.Second)
	d := newDriver(t, s, "")
	m.device("", "").say("t/1", "1", true)
	until(t, d, s, item("one", "t/1", ""), "1")
	b := d.broker(s)
	b.mu.Lock()
	for i := len(b.topics); i < maxTopics; i++ {
		b.topics[fmt.Sprint("filler/", i)] = &topic{paths: map[string]heard{"": {}}, heard: time.Now(), asked: time.Now()}
	}
	b.mu.Unlock()
	got, r, _ := poll(t, d, s, item("one", "t/1", ""), item("more", "t/2", ""))
	if got["one"] != "1" || got["more"] != "[busy]" || !strings.Contains(r.Values["more"].Err.Error(), "4000 topics") {
		t.Errorf("%v: %v", got, r.Values["more"].Err)
	}
	b.mu.Lock()
	for name, filler := range b.topics {
		if strings.HasPrefix(name, "filler") {
			filler.asked = time.Now().Add(-2 * forgotten)
		}
	}
	b.mu.Unlock()
	m.device("", "").say("t/2", "2", true)
	until(t, d, s, item("more", "t/2", ""), "2")
}
