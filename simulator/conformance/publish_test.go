package conformance

import (
	"encoding/base64"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"
	paho3 "github.com/eclipse/paho.mqtt.golang"
)

// What is published over HTTP reaches subscribers of both versions of MQTT, the
// newer one with its properties, and later subscribers when it is retained.
func TestHTTP_PublishReachesSubscribers(t *testing.T) { publishReachesSubscribers(t, service(t)) }

func publishReachesSubscribers(t *testing.T, cfg Config) {
	topic := "line 1/" + subject(Case{}, false).Thing
	old, five := make(chan string, 4), make(chan string, 4)
	leave5 := subscribe5(t, cfg, topic, five)
	publishEverything(t, cfg, topic)
	const properties = "text/plain answers/here \x01\x02 soon 1 [{k v} {k w}] "
	// The broker looks for what is retained after it has confirmed a subscription:
	// what is published in between comes a second time, as that.
	receive(t, five, properties+"retain=false hello", properties+"retain=true hello")
	leave5()
	drain(five)
	defer subscribe5(t, cfg, topic, five)()
	receive(t, five, properties+"retain=true hello")
	c := paho3.NewClient(options311(cfg, "old-"+topic[15:]))
	if token := c.Connect(); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	defer c.Disconnect(0)
	if token := c.Subscribe(topic, 1, func(_ paho3.Client, m paho3.Message) {
		old <- fmt.Sprintf("%s retain=%v", m.Payload(), m.Retained())
	}); token.Wait() && token.Error() != nil {
		t.Fatal(token.Error())
	}
	receive(t, old, "hello retain=true")
}

func publishEverything(t *testing.T, cfg Config, topic string) {
	t.Helper()
	target := "http://" + cfg.HTTP + "/topics/" + strings.ReplaceAll(topic, " ", "%20") +
		"?qos=1&retain=true&contentType=text/plain&responseTopic=answers/here&messageExpiry=300"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, target, strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"x-amz-mqtt5-correlation-data": "\x01\x02", "x-amz-mqtt5-user-properties": `[{"k":"v"},{"k":"w"}]`,
	} {
		req.Header.Set(name, base64.StdEncoding.EncodeToString([]byte(value)))
	}
	req.Header.Set("x-amz-mqtt5-payload-format-indicator", "UTF8_DATA")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	http.DefaultClient.CloseIdleConnections()
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
}

func subscribe5(t *testing.T, cfg Config, topic string, messages chan<- string) (leave func()) {
	t.Helper()
	nc, err := net.Dial("tcp", cfg.MQTT)
	if err != nil {
		t.Fatal(err)
	}
	c := paho.NewClient(paho.ClientConfig{Conn: nc, OnPublishReceived: []func(paho.PublishReceived) (bool, error){
		func(r paho.PublishReceived) (bool, error) {
			p := r.Packet.Properties
			expiry, format := "never", byte(0)
			if p.MessageExpiry != nil && *p.MessageExpiry <= 300 && *p.MessageExpiry > 200 {
				expiry = "soon" // what remains of it
			}
			if p.PayloadFormat != nil {
				format = *p.PayloadFormat
			}
			messages <- fmt.Sprintf("%s %s %s %s %d %v retain=%v %s", p.ContentType, p.ResponseTopic, p.CorrelationData, expiry, format, p.User, r.Packet.Retain, r.Packet.Payload)
			return true, nil
		},
	}})
	if _, err := c.Connect(t.Context(), &paho.Connect{ClientID: "five-" + topic[15:], CleanStart: true, KeepAlive: 60}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Subscribe(t.Context(), &paho.Subscribe{Subscriptions: []paho.SubscribeOptions{{Topic: topic, QoS: 1}}}); err != nil {
		t.Fatal(err)
	}
	return func() { _ = c.Disconnect(&paho.Disconnect{}) }
}

func receive(t *testing.T, messages <-chan string, want string, ignore ...string) {
	t.Helper()
	for {
		select {
		case got := <-messages:
			if slices.Contains(ignore, got) {
				continue
			}
			if got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
			return
		case <-time.After(20 * time.Second):
			t.Fatalf("never: %q", want)
		}
	}
}

// drain throws away what came until its sender left.
func drain(messages <-chan string) {
	for {
		select {
		case <-messages:
		default:
			return
		}
	}
}
