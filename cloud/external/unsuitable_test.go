package external

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"

	"gnomon/cloud/external/mosquittotest"
)

// answers listens and answers the first bytes of every connection with some.
func answers(t *testing.T, with string, hangUp bool) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = c.Read(make([]byte, 1024))
			_, _ = io.WriteString(c, with)
			if hangUp {
				c.Close()
			} else {
				t.Cleanup(func() { c.Close() })
			}
		}
	}()
	t.Cleanup(func() {
		l.Close()
		<-ended
	})
	return "mqtt://" + l.Addr().String()
}

// gate is who decides what a client of mochi may do.
type gate struct {
	mqtt.HookBase
	may func(topic string, write bool) bool
}

func (g *gate) Provides(b byte) bool                                    { return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck }
func (g *gate) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (g *gate) OnACLCheck(_ *mqtt.Client, topic string, write bool) bool {
	return g.may == nil || g.may(topic, write)
}

// gated is a broker that may do less than we need.
func gated(t *testing.T, hook *gate, shares bool) string {
	t.Helper()
	caps := mqtt.NewDefaultServerCapabilities()
	if !shares {
		caps.SharedSubAvailable = 0
	}
	server := mqtt.New(&mqtt.Options{Capabilities: caps})
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	if err := errors.Join(server.AddHook(hook, nil), server.AddListener(l), server.Serve()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	return "mqtt://" + l.Address()
}

// A broker that can't do it ends the cloud with the reason.
func TestUnsuitableBrokers(t *testing.T) {
	for want, url := range map[string]string{
		"it doesn't speak MQTT 5":                  answers(t, "\x20\x02\x00\x01", true),
		"doesn't speak MQTT 5":                     answers(t, "\x20\x03\x00\x84\x00", true),
		"it doesn't allow shared subscriptions":    answers(t, "\x20\x05\x00\x00\x02\x2a\x00", false),
		"it doesn't allow subscriptions with wild": answers(t, "\x20\x05\x00\x00\x02\x28\x00", false),
		"it offers quality of service 0 only":      answers(t, "\x20\x05\x00\x00\x02\x24\x00", false),
	} {
		b, err := New(Config{URL: url, ClientID: "c", Log: logger(t)})
		if err != nil {
			t.Fatal(err)
		}
		b.SetShadows(make(service))
		if err := b.Run(t.Context()); !errors.Is(err, ErrUnsuitable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

// says runs a broker until it says in such words why it isn't ready; "": until it is.
func says(t *testing.T, cfg Config, want string) {
	t.Helper()
	cfg.ClientID, cfg.Log = "c", logger(t)
	b, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	b.SetShadows(make(service))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- b.Run(ctx) }()
	eventually(t, "it says: "+want, func() bool {
		err := b.Ready()
		return want == "" && err == nil || want != "" && err != nil && strings.Contains(err.Error(), want)
	})
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("%s: %v", want, err)
	}
}

// One without shared subscriptions will do for one who is alone.
func TestAloneNeedsNoSharedSubscriptions(t *testing.T) {
	says(t, Config{URL: gated(t, new(gate), false), Alone: true}, "")
}

// A broker that keeps $ to itself serves the other topics; one that keeps all
// says which.
func TestSomeTopicsRefused(t *testing.T) {
	dollar := &gate{may: func(topic string, _ bool) bool { return !strings.Contains(topic, "$aws") }}
	r := launch(t, Config{URL: gated(t, dollar, true), ClientID: "c", Alone: true}, make(service))
	if r.Subscribed(update) || !r.Subscribed("things/t/shadow/update") {
		t.Error("subscribed to what was refused, or not to the other")
	}
	r.Publish("$aws/things/t/shadow/update/delta", []byte("{}")) // refused, and no harm
	eventually(t, "the refusal is counted", func() bool { return count(t, r.metrics.unpublished) == 1 })

	all := &gate{may: func(topic string, write bool) bool { return write }}
	says(t, Config{URL: gated(t, all, true), Alone: true}, "it refuses the subscription to things/+/shadow/")
}

// What may pass by itself is said, and tried again.
func TestReadySaysWhy(t *testing.T) {
	passwords := filepath.Join(t.TempDir(), "passwords")
	if err := os.WriteFile(passwords, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	closed := mosquittotest.StartForgetful(t, "allow_anonymous false", "password_file "+passwords)
	nobody, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody.Close()
	for want, url := range map[string]string{
		"refused":                           "mqtt://" + nobody.Addr().String(),
		"not authorized (code 0x87)":        closed.URL(),
		"instead of answering CONNECT":      answers(t, "", true),
		"no answer to CONNECT within 200ms": answers(t, "", false),
		"connect":                           answers(t, "HTTP/1.1 400 Bad Request\r\n\r\n", true),
	} {
		says(t, Config{URL: url, Timeout: 200 * time.Millisecond, BackoffMax: 300 * time.Millisecond}, want)
	}
}

// A broker that announces a huge packet is left before there is room made for it: as an
// answer to CONNECT, and later.
func TestHugePacket(t *testing.T) {
	for name, text := range map[string]string{"before the session": "\x20\xff\xff\xff\x7f", "in the session": "\x20\x03\x00\x00\x00\x30\xff\xff\xff\x7f"} {
		t.Run(name, func(t *testing.T) {
			says(t, Config{URL: answers(t, text, false), Timeout: time.Minute, BackoffMax: 300 * time.Millisecond, MaxPacket: 64 << 10}, "more than 131072 bytes")
		})
	}
}

// Two with one client id take the connection from each other, and say so.
func TestClientIDsMustDiffer(t *testing.T) {
	m := mosquittotest.StartForgetful(t)
	cfg := config(m, "same")
	one := launch(t, cfg, make(service))
	two, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	two.SetShadows(make(service))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- two.Run(ctx) }()
	eventually(t, "it is said", func() bool {
		err := one.Ready()
		return err != nil && strings.Contains(err.Error(), "does another client have the client id same?")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
