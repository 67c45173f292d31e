package conformance

import (
	"testing"

	"gnomon/cloud/external/mosquittotest"
	"gnomon/cloud/store/redis/redistest"
	"gnomon/simulator/cloudproc"
	"gnomon/simulator/cloudtest"
)

// throughMosquitto returns a cloud that serves shadows through mosquitto.
func throughMosquitto(t *testing.T, args ...string) Config {
	t.Helper()
	m := mosquittotest.Start(t)
	run := cloudtest.Config(t)
	run.MQTT = ""
	run.Args = append([]string{"--state-limit", "8192", "--depth-limit", "6", "--broker", m.URL()}, args...)
	cloud, err := cloudproc.Start(run)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(cloud.Kill)
	if err := cloud.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return Config{HTTP: run.HTTP, MQTT: m.Address(), External: true}.withDefaults()
}

// The whole table through mosquitto, and what else doesn't depend on whose the
// broker is: sessions, publishing over HTTP, an unmodified AWS SDK.
func TestConformance_External(t *testing.T) {
	if _, given := FromEnvironment(); given {
		t.Log("one service was named, and its broker isn't ours to choose")
		return
	}
	cfg := throughMosquitto(t)
	t.Run("table", func(t *testing.T) { Run(t, cfg) })
	t.Run("sessions", func(t *testing.T) { sessionResumes(t, cfg) })
	t.Run("publish", func(t *testing.T) { publishReachesSubscribers(t, cfg) })
	t.Run("sdk", func(t *testing.T) { deviceSDK(t, cfg) })
}

// The whole table through mosquitto by a replica, which serves what mosquitto
// can't share by turns.
func TestConformance_ExternalRedis(t *testing.T) {
	if _, given := FromEnvironment(); given {
		t.Log("one service was named, and its broker isn't ours to choose")
		return
	}
	Run(t, throughMosquitto(t, "--store", redistest.Start(t).URL("")))
}
