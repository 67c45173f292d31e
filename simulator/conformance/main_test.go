package conformance

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"gnomon/cloud/store/redis/redistest"
	"gnomon/simulator/cloudproc"
	"gnomon/simulator/cloudtest"
)

func TestMain(m *testing.M) {
	code := cloudtest.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		println("goroutines left:", err.Error())
		code = 1
	}
	os.Exit(code)
}

// service returns the service under test: the one named in the environment, or
// the real cloud with the limits that AWS has.
func service(t *testing.T) Config {
	t.Helper()
	if cfg, ok := FromEnvironment(); ok {
		return cfg.withDefaults()
	}
	run := start(t)
	return Config{HTTP: run.HTTP, MQTT: run.MQTT}.withDefaults()
}

// start starts a cloud with the limits of AWS.
func start(t *testing.T, args ...string) cloudproc.Config {
	t.Helper()
	run := cloudtest.Config(t)
	run.Args = append([]string{"--state-limit", "8192", "--depth-limit", "6"}, args...)
	cloud, err := cloudproc.Start(run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Kill)
	if err := cloud.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return run
}

// The whole table.
func TestConformance(t *testing.T) { Run(t, service(t)) }

// The whole table again, on the store that replicas share.
func TestConformance_Redis(t *testing.T) {
	if _, given := FromEnvironment(); given {
		t.Log("one service was named, and its store isn't ours to choose")
		return
	}
	run := start(t, "--store", redistest.Start(t).URL(""))
	Run(t, Config{HTTP: run.HTTP, MQTT: run.MQTT}.withDefaults())
}

// Every line of the contract has a case.
func TestEveryLine(t *testing.T) {
	for line := 1; line <= 21; line++ {
		found := false
		for _, c := range Cases() {
			found = found || strings.HasPrefix(c.Line, strconv.Itoa(line)+" ")
		}
		if !found {
			t.Errorf("no case of line %d", line)
		}
	}
}
