package snmp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/collect/credentials"
	"gnomon/schema"
)

// poll asks once and returns values as text, or the reasons in brackets.
func poll(t *testing.T, d *Driver, s schema.Source, m schema.Meter, items ...schema.Item) (map[string]string, collect.Result, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := d.Poll(ctx, collect.Request{Source: s, Meter: m, Items: items, Priority: 5})
	out := make(map[string]string)
	for name, v := range r.Values {
		if out[name] = v.Value.Text(); v.Value == nil {
			out[name] = "[" + collect.Reason(v.Err) + "]"
		}
	}
	return out, r, err
}

// everyType are items of every type that agents have, and what they are of agent 1.
var everyType = []struct {
	item schema.Item
	want string
}{
	{item("integer", enterprise+"1.0"), "2301"},
	{schema.Item{Name: "scaled", OID: enterprise + "1.0", Scale: 0.1}, "230.1"},
	{item("negative", enterprise+"2.0"), "-1"},
	{item("text", enterprise+"3.0"), "49.91"},
	{item("no number", enterprise+"4.0"), "[not-a-number]"},
	{item("large", enterprise+"5.0"), "4294967291"},
	{schema.Item{Name: "yes", OID: enterprise + "6.0", Scale: 1, Type: "bool"}, "true"},
	{schema.Item{Name: "no", OID: enterprise + "7.0", Scale: 1, Type: "bool"}, "false"},
	{schema.Item{Name: "no truth", OID: enterprise + "8.0", Scale: 1, Type: "bool"}, "[not-a-number]"},
	{item("counter", enterprise+"8.0"), "12345"},
	{schema.Item{Name: "none", OID: enterprise + "9.0", Scale: 1, None: "-32768"}, "[no-value]"},
	{item("object", enterprise+"10.0"), "[not-a-number]"},
	{item("absent", enterprise+"11.0"), "[exception]"},
	{item("no tree", "1.3.6.1.9.9"), "[exception]"},
}

func itemsOf() (items []schema.Item) {
	for _, c := range everyType {
		items = append(items, c.item)
	}
	return items
}

func check(t *testing.T, what string, got map[string]string) {
	t.Helper()
	for _, c := range everyType {
		if got[c.item.Name] != c.want {
			t.Errorf("%s: %s is %q, want %q", what, c.item.Name, got[c.item.Name], c.want)
		}
	}
}

// secrets are the credentials of the users that snmpd knows, and of some that it
// doesn't.
func secrets(t *testing.T) credentials.Dir {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"community": "community: hush-hush",
		"stranger":  "community: wrong-one",
		"plain":     "user: plain",
		"auth":      "{user: auth, authProtocol: SHA256, authPassword: authpass-1}",
		"priv":      "{user: priv, authProtocol: SHA512, authPassword: authpass-2, privProtocol: AES, privPassword: privpass-2}",
		"old":       "{user: old, authProtocol: MD5, authPassword: authpass-3, privProtocol: DES, privPassword: privpass-3}",
		"nobody":    "user: nobody",
		"forgotten": "{user: auth, authProtocol: SHA256, authPassword: not-the-password}",
		"garbled":   "{user: priv, authProtocol: SHA512, authPassword: authpass-2, privProtocol: AES, privPassword: not-the-password}",
		"too-low":   "user: priv",
		"short":     "{user: auth, authProtocol: SHA256, authPassword: short}",
		"half":      "{user: auth, authProtocol: SHA256}",
		"upside":    "{user: auth, privProtocol: AES, privPassword: privpass-2}",
		"unknown":   "{user: auth, authProtocol: CRC32, authPassword: authpass-1}",
		"userless":  "community: hush-hush",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return credentials.Dir(dir)
}

// Every type of value comes out right over every version, with every level of
// security, and what an agent doesn't have takes nothing along.
func TestPoll_VersionsAndTypes(t *testing.T) {
	a := startAgent(t, 1)
	d := New(secrets(t))
	for _, c := range []struct{ version, credentials string }{
		{"1", ""}, {"2c", ""}, {"2c", "community"}, {"3", "plain"}, {"3", "auth"}, {"3", "priv"}, {"3", "old"},
	} {
		s := source()
		s.Version, s.Credentials = c.version, c.credentials
		var frames []int
		for range 3 {
			got, r, err := poll(t, d, s, a.meter(), itemsOf()...)
			if err != nil {
				t.Errorf("%+v: %v", c, err)
			}
			check(t, fmt.Sprintf("%+v", c), got)
			frames = append(frames, r.Frames)
		}
		if frames[2] != 1 {
			t.Errorf("%+v: %v requests, one is enough once the agent is known", c, frames)
		}
		d.Release(s)
	}
}

// Who isn't let in is told so, or hears nothing, as the protocol has it; nothing of
// a password is in what is said.
func TestPoll_Refused(t *testing.T) {
	a := startAgent(t, 1)
	d := New(secrets(t))
	for _, c := range []struct{ version, credentials, reason, says string }{
		{"2c", "stranger", "timeout", ""},
		{"3", "nobody", "credentials", "unknown username"},
		{"3", "forgotten", "credentials", "wrong password"},
		{"3", "garbled", "timeout", ""}, // snmpd keeps silent about what it can't decrypt, or reports it
		{"3", "too-low", "exception", "authorizationerror"},
		{"3", "short", "credentials", "8 characters"},
		{"3", "half", "credentials", "belong together"},
		{"3", "upside", "credentials", "needs authProtocol"},
		{"3", "unknown", "credentials", "must be MD5"},
		{"3", "userless", "credentials", "user is missing"},
		{"3", "absent", "credentials", "no such file"},
	} {
		s := source()
		s.Version, s.Credentials, s.Timeout, s.Tries = c.version, c.credentials, schema.Duration(500*time.Millisecond), 1
		got, r, err := poll(t, d, s, a.meter(), item("V", enterprise+"1.0"), item("F", enterprise+"3.0"))
		said := fmt.Sprint(err, r.Values["V"].Err)
		for _, name := range []string{"V", "F"} {
			ok := got[name] == "["+c.reason+"]" || c.credentials == "garbled" && got[name] == "[credentials]"
			if !ok || !strings.Contains(said, c.says) {
				t.Errorf("%+v: %s is %s: %s", c, name, got[name], said)
			}
		}
		for _, secret := range []string{"authpass", "privpass", "not-the-password", "wrong-one", "hush"} {
			if strings.Contains(said, secret) {
				t.Errorf("%+v: it tells %q: %s", c, secret, said)
			}
		}
		d.Release(s)
	}
}

// A password that is changed on the node holds from the next poll on.
func TestPoll_CredentialsAreReadAnew(t *testing.T) {
	a := startAgent(t, 1)
	dir := secrets(t)
	d := New(dir)
	s := source()
	s.Version, s.Credentials = "3", "forgotten"
	if got, _, _ := poll(t, d, s, a.meter(), item("V", enterprise+"1.0")); got["V"] != "[credentials]" {
		t.Errorf("%v", got)
	}
	right, err := os.ReadFile(filepath.Join(string(dir), "priv"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(string(dir), "forgotten"), right, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _, err := poll(t, d, s, a.meter(), item("V", enterprise+"1.0")); got["V"] != "2301" {
		t.Errorf("%v, %v", got, err)
	}
}

// An agent that was started anew has another engine time, or another engine.
func TestPoll_AgentRestarts(t *testing.T) {
	a := startAgent(t, 1)
	d := New(secrets(t))
	s := source()
	s.Version, s.Credentials = "3", "priv"
	for range 3 {
		got, _, err := poll(t, d, s, a.meter(), item("V", enterprise+"1.0"))
		if got["V"] != "2301" {
			got, _, err = poll(t, d, s, a.meter(), item("V", enterprise+"1.0")) // the first may learn of it
		}
		if got["V"] != "2301" {
			t.Errorf("%v, %v", got, err)
		}
		a.kill()
		a.start()
	}
}

// As many objects go into a request as the policy lets; an object that several
// items have is asked for once.
func TestPoll_Groups(t *testing.T) {
	a := startAgent(t, 1)
	d := New("")
	for most, want := range map[int]int{1: 10, 3: 4, 4: 3, 20: 1} {
		s := source()
		s.MaxOIDs = most
		var items []schema.Item
		for i := range 30 {
			items = append(items, item(strconv.Itoa(i), enterprise+strconv.Itoa(1+i%10)+".0"))
		}
		got, r, err := poll(t, d, s, a.meter(), items...)
		if err != nil || r.Frames != want || got["20"] != "2301" {
			t.Errorf("%d at most: %d requests, want %d: %v, %v", most, r.Frames, want, got, err)
		}
		p := &schema.Policy{Source: s, Items: items, Meters: []schema.Meter{a.meter()}}
		if bus := p.BusTime(schema.Pace{}); bus.Requests != want {
			t.Errorf("%d at most: admission counts %d requests, %d were sent", most, bus.Requests, want)
		}
	}
}

// between is a node between us and an agent, that spoils answers.
type between struct {
	net.PacketConn
	mu    sync.Mutex
	spoil func(n int, answer []byte) [][]byte // what arrives in place of the nth answer
	n     int
}

func putBetween(t *testing.T, a *snmpd, spoil func(int, []byte) [][]byte) schema.Meter {
	t.Helper()
	near, err := net.ListenPacket("udp", ownHost()+":0")
	if err != nil {
		t.Fatal(err)
	}
	b := &between{PacketConn: near, spoil: spoil}
	var serving sync.WaitGroup
	serving.Go(func() { b.serve(t, a.address) })
	t.Cleanup(func() { _ = near.Close(); serving.Wait() })
	return schema.Meter{ID: "between", Address: near.LocalAddr().String()}
}

func (b *between) serve(t *testing.T, to string) {
	buf := make([]byte, 65536)
	for {
		n, from, err := b.ReadFrom(buf)
		if err != nil {
			return
		}
		far, err := net.Dial("udp", to)
		if err != nil {
			t.Error(err)
			return
		}
		_ = far.SetDeadline(time.Now().Add(5 * time.Second))
		_, err = far.Write(buf[:n])
		if err == nil {
			n, err = far.Read(buf)
		}
		far.Close()
		if err != nil {
			continue // snmpd doesn't answer everything
		}
		b.mu.Lock()
		for _, out := range b.spoil(b.n, slices.Clone(buf[:n])) {
			_, _ = b.WriteTo(out, from)
		}
		b.n++
		b.mu.Unlock()
	}
}

// Whatever comes in place of an answer, values are right or missing; and once good
// answers come, they are right.
func TestPoll_BadAnswers(t *testing.T) {
	a := startAgent(t, 1)
	var former []byte
	spoilers := map[string]func(n int, good []byte) [][]byte{
		"nothing":   func(int, []byte) [][]byte { return nil },
		"empty":     func(int, []byte) [][]byte { return [][]byte{{}} },
		"zeros":     func(int, []byte) [][]byte { return [][]byte{make([]byte, 100)} },
		"cut":       func(n int, good []byte) [][]byte { return [][]byte{good[:len(good)*(n%10)/10]} },
		"long":      func(_ int, good []byte) [][]byte { return [][]byte{append(good, make([]byte, 3000)...)} },
		"no packet": func(int, []byte) [][]byte { return [][]byte{[]byte("GET / HTTP/1.1\r\n\r\n")} },
		"lengths": func(n int, good []byte) [][]byte {
			good[1+n%min(len(good)-1, 40)] = 0xff
			return [][]byte{good}
		},
		"former": func(_ int, good []byte) [][]byte {
			late := former
			former = good
			return [][]byte{late}
		},
		"former first": func(_ int, good []byte) [][]byte {
			late := former
			former = good
			return [][]byte{late, good}
		},
		"another object": func(_ int, good []byte) [][]byte {
			at := strings.LastIndex(string(good), "\x06\x01\x04\x01\x83\xb2\x03\x03")
			if at > 0 {
				good[at+7] = 5
			}
			return [][]byte{good}
		},
	}
	for name, spoil := range spoilers {
		t.Run(name, func(t *testing.T) {
			former = nil
			m := putBetween(t, a, spoil)
			d := New("")
			s := source()
			s.Timeout, s.Tries = schema.Duration(60*time.Millisecond), 1
			for i := range 12 {
				if i%2 == 0 {
					d.Release(s) // or the agent would be left out for a while
				}
				items := []schema.Item{item("V", enterprise+"1.0"), item("F", enterprise+"3.0")}
				if i%3 == 1 {
					items = []schema.Item{item("V", enterprise+"2.0"), item("F", enterprise+"3.0")}
				}
				got, r, err := poll(t, d, s, m, items...)
				for _, it := range items {
					want := map[string]string{enterprise + "1.0": "2301", enterprise + "2.0": "-1", enterprise + "3.0": "49.91"}[it.OID]
					v := r.Values[it.Name]
					switch reason := collect.Reason(v.Err); {
					case v.Value != nil && got[it.Name] != want && name != "lengths":
						t.Errorf("%s is %s, want %s", it.Name, got[it.Name], want)
					case v.Value == nil && reason != "timeout" && reason != "garbled" && reason != "skipped" && reason != "exception":
						t.Errorf("%s is missing: %s: %v", it.Name, reason, v.Err)
					case v.Err != nil && len(v.Err.Error()) > 400:
						t.Errorf("%d bytes of reason", len(v.Err.Error()))
					}
				}
				if name == "former first" && i > 2 && err != nil && !errors.Is(err, collect.ErrTimeout) && !errors.Is(err, collect.ErrSkipped) {
					t.Errorf("the true answer came too: %v", err)
				}
			}
		})
	}
}

// An agent whose answers have to be small is asked for less at a time from then on.
func TestPoll_TooBig(t *testing.T) {
	a := startAgent(t, 1)
	m := putBetween(t, a, func(_ int, good []byte) [][]byte {
		if len(good) <= 150 {
			return [][]byte{good}
		}
		// The same packet with the status tooBig: it is the INTEGER behind the request's number.
		at := strings.IndexByte(string(good), 0xa2) + 2
		for good[at] != 2 {
			at++
		}
		at += 2 + int(good[at+1])
		good[at+2] = 1
		return [][]byte{good}
	})
	d := New("")
	s := source()
	var items []schema.Item
	for i := range 10 {
		items = append(items, item(strconv.Itoa(i), enterprise+strconv.Itoa(1+i)+".0"))
	}
	_, first, err := poll(t, d, s, m, items...)
	got, second, err2 := poll(t, d, s, m, items...)
	if err != nil || err2 != nil || got["0"] != "2301" || got["7"] != "12345" || second.Frames >= first.Frames {
		t.Errorf("%d requests, then %d: %v, %v, %v", first.Frames, second.Frames, got, err, err2)
	}
}
