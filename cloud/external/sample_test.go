package external

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	"github.com/eclipse/paho.golang/paho"

	"gnomon/cloud/external/mosquittotest"
)

// certificates writes an authority and what it vouches for: NAME.crt, NAME.key.
func certificates(t *testing.T, dir string, names ...string) {
	t.Helper()
	ca := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test authority"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	signer := issue(t, dir, "ca", ca, ca, nil)
	for i, name := range names {
		issue(t, dir, name, &x509.Certificate{
			SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"localhost"},
			KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
			NotBefore: ca.NotBefore, NotAfter: ca.NotAfter,
		}, ca, signer)
	}
}

func issue(t *testing.T, dir, name string, c, parent *x509.Certificate, signer *ecdsa.PrivateKey) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if signer == nil {
		signer = key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return key
}

// sample starts mosquitto with the sample of deploy/, on another port.
func sample(t *testing.T, names ...string) (m *mosquittotest.Broker, dir string) {
	t.Helper()
	dir = t.TempDir()
	certificates(t, dir, append(names, "server")...)
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	const from = "../../deploy/mosquitto/"
	acl, err := os.ReadFile(from + "acl")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "acl"), acl, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(from + "mosquitto.conf")
	if err != nil {
		t.Fatal(err)
	}
	port := mosquittotest.FreePort(t)
	conf := strings.Replace(string(text), "listener 8883", fmt.Sprintf("listener %d 127.0.0.1", port), 1)
	return mosquittotest.StartWith(t, dir, port, conf), dir
}

// The sample in deploy/ is one that mosquitto takes, with which the cloud serves
// and devices do no more than they may.
func TestSample(t *testing.T) {
	m, dir := sample(t, "gnomon", "meter-1", "meter-2")
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, alone := range []bool{true, false} {
		b := new(atomic.Pointer[Broker])
		r := launch(t, Config{
			URL: fmt.Sprintf("mqtts://localhost:%d", m.Port), ClientID: fmt.Sprintf("cloud-%v", alone), Alone: alone,
			Login: Login{CA: in("ca.crt"), Certificate: in("gnomon.crt"), Key: in("gnomon.key")},
		}, answering{b})
		b.Store(r.Broker)
		one := secureDevice(t, m, dir, "meter-1")
		one.subscribe("$aws/things/+/shadow/#")
		for _, own := range []string{"get", "update", "delete", "sync", "name/s/get", "name/s/update", "name/s/delete"} {
			topic := "$aws/things/meter-1/shadow/" + own
			if code := one.code(topic, "{}"); code != 0 {
				t.Errorf("%s: %#x", topic, code)
			}
			one.expect(topic + " {}") // it may read its own questions
			one.expect(topic + "/accepted {}")
		}
		for _, topic := range []string{
			"$aws/things/meter-1/shadow/get", "things/meter-1/shadow/update", "$aws/things/meter-2/shadow/update/accepted",
			"$aws/things/meter-2/shadow/update/delta", "$aws/things/meter-2/shadow/desired", "gnomon/gnomon/turn", "$share/gnomon/things/meter-2/shadow/get",
		} {
			d := secureDevice(t, m, dir, "meter-2") // mosquitto may end the connection, too
			if code := d.code(topic, "x"); code < 0x80 {
				t.Errorf("meter-2 may publish to %s: %#x", topic, code)
			}
			d.leave()
		}
		two := secureDevice(t, m, dir, "meter-2")
		two.subscribe("$aws/things/+/shadow/#")
		one.code("$aws/things/meter-1/shadow/get", "not for everybody")
		one.expect("$aws/things/meter-1/shadow/get not for everybody")
		one.expect("$aws/things/meter-1/shadow/get/accepted not for everybody")
		two.code("$aws/things/meter-2/shadow/get", "own")
		two.expect("$aws/things/meter-2/shadow/get own") // and nothing of meter-1 before it
		two.expect("$aws/things/meter-2/shadow/get/accepted own")
		if n := count(t, r.metrics.unpublished); n != 0 {
			t.Errorf("the broker refused %d messages of the cloud", n)
		}
		one.leave()
		two.leave()
		r.stop()
	}
	nobody, err := New(Config{URL: fmt.Sprintf("mqtts://localhost:%d", m.Port), ClientID: "c", Login: Login{CA: in("ca.crt")}})
	if err != nil {
		t.Fatal(err)
	}
	nobody.SetShadows(make(service))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- nobody.Run(ctx) }()
	eventually(t, "no certificate, no connection", func() bool {
		err := nobody.Ready()
		return err != nil && strings.Contains(err.Error(), "certificate")
	})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func secureDevice(t *testing.T, m *mosquittotest.Broker, dir, name string) *device {
	t.Helper()
	l := Login{CA: filepath.Join(dir, "ca.crt"), Certificate: filepath.Join(dir, name+".crt"), Key: filepath.Join(dir, name+".key")}
	c, err := l.tls("localhost")
	if err != nil {
		t.Fatal(err)
	}
	nc, err := tls.Dial("tcp", m.Address(), c)
	if err != nil {
		t.Fatal(err)
	}
	return greet(t, packets.NewThreadSafeConn(nc), &paho.Connect{ClientID: name, CleanStart: true, KeepAlive: 60})
}

// code publishes and returns the broker's reason code.
func (d *device) code(topic, body string) byte {
	d.t.Helper()
	answer, err := d.client.Publish(d.t.Context(), &paho.Publish{Topic: topic, QoS: 1, Payload: []byte(body)})
	if answer == nil {
		d.t.Fatalf("publish to %s: %v", topic, err)
	}
	return answer.ReasonCode
}
