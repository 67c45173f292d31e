package endtoend

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// A program that isn't ours, as Debian has it, runs in its own container, a second
// one joins that, and a third runs on the node, out of one manifest: the sample.
func TestDebian_ProgramInThreeModes(t *testing.T) {
	c := newCloud(t)
	e := newEdge(t, c.cfg.MQTT)
	const deploy = "../../deploy/debian/"
	component := filepath.Join(e.data, "mosquitto")
	if out, err := exec.Command(deploy+"rootfs", component, "mosquitto").CombinedOutput(); err != nil {
		t.Fatalf("make the component: %v: %s", err, out)
	}
	sample, err := os.ReadFile(deploy + "manifests/mosquitto.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("gw-1", e.name, "component: mosquitto@2.0.11", "component: file://"+component).Replace(string(sample))
	ports := map[string]string{}
	for _, p := range []string{"21883", "21884", "21885"} {
		ports[p] = freePort(t)
		text = strings.ReplaceAll(text, p, ports[p])
	}
	manifest := filepath.Join(e.data, "mosquitto.yaml")
	if err := os.WriteFile(manifest, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	e.start()
	apply := exec.Command(c.cfg.Binary, "apply", "-f", manifest, "--wait=60s", "--server", "http://"+c.cfg.HTTP)
	if out, err := apply.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, p := range ports {
		answers(t, "127.0.0.1:"+p)
	}
	for name, first := range map[string]bool{"broker": false, "broker-attached": false, "broker-host": true} {
		pid := c.get(e.name, "apps/"+name).Reported.PID
		own, _ := os.Readlink("/proc/self/ns/pid")
		if its, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/pid"); err != nil || (its == own) != first {
			t.Errorf("%s: process %d in namespace %s, the node's is %s: %v", name, pid, its, own, err)
		}
	}
	for _, name := range []string{"broker-host", "broker-attached", "broker"} {
		c.delete(e.name, "apps/"+name)
	}
	nothingLeft(t, e)
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// answers publishes to a broker and waits for what it sends back.
func answers(t *testing.T, address string) {
	t.Helper()
	client := mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + address).SetConnectRetry(true).SetConnectRetryInterval(50 * time.Millisecond))
	defer client.Disconnect(0)
	got := make(chan string, 1)
	for _, token := range []func() mqtt.Token{
		client.Connect,
		func() mqtt.Token {
			return client.Subscribe("test/+", 1, func(_ mqtt.Client, m mqtt.Message) { got <- string(m.Payload()) })
		},
		func() mqtt.Token { return client.Publish("test/x", 1, false, "to "+address) },
	} {
		if k := token(); !k.WaitTimeout(patience) || k.Error() != nil {
			t.Fatalf("broker at %s: %v", address, k.Error())
		}
	}
	select {
	case m := <-got:
		if m != "to "+address {
			t.Errorf("broker at %s says %q", address, m)
		}
	case <-time.After(patience):
		t.Errorf("broker at %s never answered", address)
	}
}
