package conformance

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	paho3 "github.com/eclipse/paho.mqtt.golang"

	"gnomon/simulator/mqtt"
)

// Line 1 over MQTT: to a name that no shadow can have nobody may publish, and
// nothing is answered. MQTT 3.1.1 has no way to say so and ends the connection.
func TestMQTT_BadNames(t *testing.T) {
	cfg := service(t)
	for _, topic := range []string{
		"$aws/things/" + strings.Repeat("t", 129) + "/shadow/get", "$aws/things/a.b/shadow/get", "$aws/things//shadow/get", "$aws/things/$a/shadow/get",
		"$aws/things/t/shadow/name/" + strings.Repeat("s", 65) + "/get", "$aws/things/t/shadow/name//get", "$aws/things/t/shadow/name/a.b/get",
		"$aws/things/t/shadow/other", "$aws/things/t/shadow/get/accepted", "$aws/things/t/shadow/update/delta", "$aws/things/t/shadow/update/documents",
	} {
		nc, err := net.Dial("tcp", cfg.MQTT)
		if err != nil {
			t.Fatal(err)
		}
		five, err := mqtt.Connect(t.Context(), nc, mqtt.Options{ClientID: "bad5"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := five.Publish(topic, []byte("{}"), 1); err != nil {
			t.Fatal(err)
		}
		if p, err := five.Next(); err != nil || p.Type != mqtt.PUBACK || p.Reason != 0x87 {
			t.Errorf("%s: %+v (%v), want PUBACK: not authorized", topic, p, err)
		}
		five.Close()

		lost := make(chan error, 1)
		old := paho3.NewClient(options311(cfg, "bad4").SetConnectionLostHandler(func(_ paho3.Client, err error) { lost <- err }))
		if token := old.Connect(); token.Wait() && token.Error() != nil {
			t.Fatal(token.Error())
		}
		old.Publish(topic, 1, false, "{}")
		select {
		case <-lost:
		case <-time.After(20 * time.Second):
			t.Errorf("%s: the connection stays", topic)
		}
		old.Disconnect(0)
	}
}

func options311(cfg Config, id string) *paho3.ClientOptions {
	return paho3.NewClientOptions().AddBroker("tcp://" + cfg.MQTT).SetProtocolVersion(4).SetClientID(id).
		SetUsername("?SDK=JavaScript&Version=2.2.16").SetAutoReconnect(false).SetOrderMatters(true)
}

// Line 4: of many requests at once, as many as may wait to be sent to one client,
// each is answered, with what it asked for or with 429, and the connection stays.
func TestMQTT_ManyAtOnce(t *testing.T) {
	cfg := service(t)
	about := subject(Case{}, false)
	c, err := openMQTT311(cfg, about)
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	conn := c.(*mqtt311).conn
	answers := make(chan int, 256)
	for leaf, code := range map[string]int{"accepted": 200, "rejected": 429} {
		handler := func(_ paho3.Client, m paho3.Message) {
			if code == 429 && !strings.Contains(string(m.Payload()), `{"code":429,"message":"Too many requests","timestamp":`) {
				t.Errorf("rejected with %s", m.Payload())
			}
			answers <- code
		}
		if token := conn.Subscribe(c.(*mqtt311).request(Update)+"/"+leaf, 0, handler); token.Wait() && token.Error() != nil {
			t.Fatal(token.Error())
		}
	}
	const requests = 60
	for i := range requests {
		conn.Publish(c.(*mqtt311).request(Update), 0, false, fmt.Sprintf(`{"state":{"reported":{"n":%d}}}`, i))
	}
	count := map[int]int{}
	for range requests {
		select {
		case code := <-answers:
			count[code]++
		case <-time.After(20 * time.Second):
			t.Fatalf("%v of %d are answered", count, requests)
		}
	}
	if count[200] == 0 || !conn.IsConnectionOpen() {
		t.Errorf("%v; connected: %v", count, conn.IsConnectionOpen())
	}
}

// A device that was away gets the deltas it missed, in order and without asking:
// over MQTT 3.1.1 with clean=false and the keep-alive that the SDKs have, over
// MQTT 5 with a session expiry.
func TestMQTT_SessionResumes(t *testing.T) { sessionResumes(t, service(t)) }

func sessionResumes(t *testing.T, cfg Config) {
	for version, connect := range map[Transport]func(*testing.T, Config, string, chan<- string) (subscribe, leave func()){
		MQTT311: resume311, MQTT5: resume5,
	} {
		t.Run(string(version), func(t *testing.T) {
			about := subject(Case{}, true)
			deltas := make(chan string, 64)
			api := &httpClient{base: "http://" + cfg.HTTP, about: about}
			defer api.close()
			want := 0
			seen := make(map[string]bool)
			next := func() string { // what the client left without acknowledging comes again
				for {
					select {
					case got := <-deltas:
						if !seen[got] {
							seen[got] = true
							return got
						}
					case <-time.After(20 * time.Second):
						t.Fatalf("delta %d does not come", want)
					}
				}
			}
			expect := func(n int) {
				for range n {
					want++
					if err := same([]byte(next()), fmt.Sprintf(`{"version":%d,"timestamp":0,"state":{"n":%d},"metadata":{"n":{"timestamp":0}}}`, want, want)); err != nil {
						t.Fatal(err)
					}
				}
			}
			n := 0
			write := func(times int) {
				for range times {
					n++
					api.update(t, fmt.Sprintf(`{"state":{"desired":{"n":%d}}}`, n))
				}
			}
			subscribe, leave := connect(t, cfg, about.Delta(), deltas)
			subscribe()
			write(2)
			expect(2)
			for range 2 {
				leave()
				write(10)
				_, leave = connect(t, cfg, about.Delta(), deltas)
				expect(10)
				write(1)
				expect(1)
			}
			leave()
		})
	}
}

func resume311(t *testing.T, cfg Config, topic string, deltas chan<- string) (subscribe, leave func()) {
	o := options311(cfg, "r4-"+topic[15:40]).SetCleanSession(false).SetKeepAlive(1200 * time.Second)
	o.SetDefaultPublishHandler(func(_ paho3.Client, m paho3.Message) { deltas <- string(m.Payload()) })
	c := paho3.NewClient(o)
	if token := c.Connect(); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	return func() {
		if token := c.Subscribe(topic, 1, nil); token.Wait() && token.Error() != nil {
			t.Fatal(token.Error())
		}
	}, func() { c.Disconnect(50) }
}

func resume5(t *testing.T, cfg Config, topic string, deltas chan<- string) (subscribe, leave func()) {
	nc, err := net.Dial("tcp", cfg.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{Conn: nc, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(p paho.PublishReceived) (bool, error) {
			deltas <- string(p.Packet.Payload)
			return true, nil
		},
	}})
	expiry := uint32(600)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	connect := &paho.Connect{ClientID: "r5-" + topic[15:40], KeepAlive: 1200, Properties: &paho.ConnectProperties{SessionExpiryInterval: &expiry}}
	if _, err := c.Connect(ctx, connect); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 1}}}); err != nil {
			t.Fatal(err)
		}
	}, func() { _ = c.Disconnect(&paho.Disconnect{}) }
}

// Line 5 and the shadow requests that come by HTTP: Publish to a request topic
// is what a device's publish is, answers included.
func TestHTTP_PublishedRequests(t *testing.T) {
	cfg := service(t)
	about := subject(Case{}, true)
	watch, err := observe(t.Context(), cfg, about)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.close()
	api := &httpClient{base: "http://" + cfg.HTTP, about: about}
	defer api.close()
	in := newInbox(about)
	for _, step := range []struct {
		op         Op
		body, leaf string
		want       string
	}{
		{Update, `{"state":{"desired":{"a":1}},"clientToken":"t"}`, "update/accepted", `{"state":{"desired":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":1,"timestamp":0,"clientToken":"t"}`},
		{Update, `{"state":{},"version":9}`, "update/rejected", `{"code":409,"message":"Version conflict","timestamp":0}`},
		{Get, ``, "get/accepted", `{"state":{"desired":{"a":1},"delta":{"a":1}},"metadata":{"desired":{"a":{"timestamp":0}}},"version":1,"timestamp":0}`},
		{Delete, ``, "delete/accepted", `{"version":1,"timestamp":0}`},
		{Get, ``, "get/rejected", `{"code":404,"message":"No shadow exists with name: 'shadow'","timestamp":0}`},
	} {
		api.expect(t, http.MethodPost, "/topics/"+in.request(step.op)+"?qos=1", step.body, http.StatusOK, "")
		published, err := watch.since()
		if err != nil {
			t.Fatal(err)
		}
		if err := published.is(step.leaf, step.want); err != nil {
			t.Errorf("%s %s: %v", step.op, step.body, err)
		}
	}
	for _, query := range []string{"?qos=2", "?qos=x", "?retain=maybe", "?messageExpiry=-1"} {
		api.expect(t, http.MethodPost, "/topics/a/b"+query, "x", http.StatusBadRequest, "")
	}
	api.expect(t, http.MethodPost, "/topics/a%2F%2B", "x", http.StatusBadRequest, "Invalid topic")
	api.expect(t, http.MethodPost, "/topics/a", strings.Repeat("x", 128<<10+1), http.StatusRequestEntityTooLarge, "")
	api.expect(t, http.MethodPost, "/topics/$aws%2Fthings%2Ft%2Fshadow%2Fupdate%2Fdelta", "x", http.StatusForbidden, "Forbidden")
	api.expect(t, http.MethodGet, "/retainedMessage/none/here", "", http.StatusNotFound, "No retained message")
	api.expect(t, http.MethodGet, "/retainedMessage?maxResults=0", "", http.StatusBadRequest, "maxResults")
}
