package endtoend

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"gnomon/simulator/cloudproc"
)

// row is what one meter had at one time, as the cloud and the node tell it.
type row struct {
	Meter  string    `json:"meter"`
	At     time.Time `json:"at"`
	Values map[string]struct {
		Value   json.Number `json:"value"`
		Missing string      `json:"missing"`
	} `json:"values"`
}

// key names a row.
func (r *row) key() string { return fmt.Sprint(r.Meter, " ", r.At.UnixMilli()) }

// good are its values that are there.
func (r *row) good() string {
	var all []string
	for _, item := range []string{"E", "V"} {
		if v := r.Values[item]; v.Value != "" {
			all = append(all, item+"="+v.Value.String())
		}
	}
	return strings.Join(all, " ")
}

// readings are all that the cloud has of a node's policy, each once.
func (c *api) readings(node, policy string) map[string]string {
	c.t.Helper()
	all := make(map[string]string)
	for token := ""; ; {
		var page struct {
			Items    []row  `json:"items"`
			Continue string `json:"continue"`
		}
		code, body := c.do(http.MethodGet, "/v1/readings?limit=5000&node="+node+"&policy="+policy+"&continue="+token, "")
		if code != http.StatusOK {
			c.t.Fatalf("readings: %d %s", code, body)
		}
		if err := json.Unmarshal(body, &page); err != nil {
			c.t.Fatal(err)
		}
		for _, r := range page.Items {
			if _, twice := all[r.key()]; twice {
				c.t.Errorf("the cloud has %s twice", r.key())
			}
			all[r.key()] = r.good()
		}
		if token = page.Continue; token == "" {
			return all
		}
	}
}

// proxy stands between the node and the cloud's broker.
func proxy(t *testing.T, to string) *toxiproxy.Proxy {
	t.Helper()
	address, err := cloudproc.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	p := toxiproxy.NewProxy(toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop()), "cloud", address, to)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Stop)
	return p
}

const often = `kind: policy
node: %s
name: often
desired:
  source: {kind: q376-tcp, address: %q, parallel: 10, timeout: 2s}
  period: 500ms
  report: {every: 1s, maxDelay: 1s}
  items:
    - {name: E, di: "00010000", format: XXXXXX.XX, unit: kWh}
    - {name: V, di: "02010100", format: XXX.X, unit: V}
  meters:
`

// The agent is killed twenty times, some of them while the cloud can't be reached.
// What it has read, by its own word, is in the cloud, each value once, and nothing
// else.
func TestReadings_KilledTwentyTimes(t *testing.T) {
	const kills, meters = 20, 10
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	program := simulatorPath(t)
	address, err := cloudproc.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	simulate(t, program, "--meters", fmt.Sprint(meters), "--listen", address, "--seed", "1", "--hop-delay", "1ms", "--meter-delay", "2ms", "--every", "0")
	c := newCloud(t)
	between := proxy(t, c.cfg.MQTT)
	e := newEdge(t, between.Listen)
	e.start()
	text := fmt.Sprintf(often, e.name, address)
	for n := 1; n <= meters; n++ {
		text += fmt.Sprintf("    - {id: m%d, address: \"%012d\"}\n", n, 202600000000+n)
	}
	c.apply(text)
	c.converge(e.name, "policies/often")
	cycles := 0
	read := func(s *status) bool { return len(s.Policies) == 1 && s.Policies[0].Success > 0 }
	for i := range kills {
		switch i {
		case kills / 3:
			between.Stop()
		case 2 * kills / 3:
			if err := between.Start(); err != nil {
				t.Fatal(err)
			}
		}
		e.await("a cycle", read)
		time.Sleep(time.Duration(random.IntN(700)) * time.Millisecond) // the moment is what is random
		cycles += e.await("the agent", read).Policies[0].Cycles
		e.kill()
		e.start()
	}
	e.await("a cycle", read)
	c.delete(e.name, "policies/often") // nothing more is read
	e.await("no policy", func(s *status) bool { return len(s.Policies) == 0 })
	kept := e.readings("often")
	until(t, "all that the node has kept to be in the cloud", func() bool { return len(c.readings(e.name, "often")) >= len(kept) })
	judgeReadings(t, kept, c.readings(e.name, "often"), cycles)
}

// judgeReadings: what the node has kept is what the cloud has, of slots alone, and
// of as many slots as the agent had whole cycles.
func judgeReadings(t *testing.T, kept, told map[string]string, cycles int) {
	t.Helper()
	slots := make(map[int64]int)
	for key, values := range told {
		if kept[key] != values {
			t.Errorf("the cloud has %q of %s, the node %q", values, key, kept[key])
		}
		var meter string
		var at int64
		if _, err := fmt.Sscan(key, &meter, &at); err != nil || at%500 != 0 {
			t.Errorf("%s is of no slot: %v", key, err)
		}
		slots[at] += strings.Count(values, "=")
	}
	for key := range kept {
		if _, there := told[key]; !there {
			t.Errorf("%s is on the node and not in the cloud", key)
		}
	}
	if t.Logf("%d rows of %d slots in the cloud, the agent said of %d cycles", len(told), len(slots), cycles); len(slots) < cycles || cycles == 0 {
		t.Errorf("%d slots are in the cloud, the agent had read %d", len(slots), cycles)
	}
}

// apply applies a manifest as an operator does.
func (c *api) apply(text string) {
	c.t.Helper()
	manifest := filepath.Join(c.t.TempDir(), "manifest.yaml")
	if err := os.WriteFile(manifest, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	if out, err := exec.Command(c.cfg.Binary, "apply", "-f", manifest, "--server", "http://"+c.cfg.HTTP).CombinedOutput(); err != nil {
		c.t.Fatalf("gnomon apply: %v: %s", err, out)
	}
}

// readings are all that the node has kept of a policy, asked for in parts.
func (e *edge) readings(policy string) map[string]string {
	e.t.Helper()
	all := make(map[string]string)
	for from := "1h"; ; {
		var page struct {
			Rows []row `json:"rows"`
			More bool  `json:"more"`
		}
		out, err := exec.Command(agentPath, "readings", "--data", e.data, "--policy", policy, "--from", from, "-o", "json").Output()
		if err == nil {
			err = json.Unmarshal(out, &page)
		}
		if err != nil {
			e.t.Fatalf("gnomon-edge readings: %v", err)
		}
		for _, r := range page.Rows {
			all[r.key()] = r.good()
		}
		if !page.More {
			return all
		}
		from = page.Rows[len(page.Rows)-1].At.Format(time.RFC3339Nano)
	}
}
