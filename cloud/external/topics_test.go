package external

import (
	"strings"
	"testing"

	"gnomon/shadow/wire"
)

// matches is MQTT's rule for a filter without #.
func matches(filter, topic string) bool {
	f, l := strings.Split(filter, "/"), strings.Split(topic, "/")
	if len(f) != len(l) || (filter[0] == '+') && topic[0] == '$' {
		return false
	}
	for i := range f {
		if f[i] != "+" && f[i] != l[i] {
			return false
		}
	}
	return true
}

// Every topic that a request can have is subscribed to once, and none of those
// that the service publishes to.
func TestFiltersMatchRequestsOnly(t *testing.T) {
	var all []string
	for _, s := range spellings {
		all = append(all, filters(s.prefix)...)
	}
	times := func(topic string) (n int) {
		for _, f := range all {
			if matches(f, topic) {
				n++
			}
		}
		return n
	}
	for _, plain := range []bool{false, true} {
		for _, name := range []string{"", "s", "name", "get", "update"} {
			for op := wire.OpGet; op <= wire.OpSync; op++ {
				topic := wire.Topic{Thing: "shadow", Shadow: name, Op: op, Plain: plain}
				if _, is := wire.ParseTopic(topic.Request()); is != (times(topic.Request()) == 1) {
					t.Errorf("%s is matched by %d filters", topic.Request(), times(topic.Request()))
				}
				for _, published := range []string{topic.Accepted(), topic.Rejected(), topic.Delta(), topic.Documents(), topic.Desired()} {
					if times(published) != 0 {
						t.Errorf("%s would come back", published)
					}
				}
			}
		}
	}
	if n := times("$aws/things/gnomon/shadow/probe/x"); n != 0 {
		t.Error("the probe is taken for a request")
	}
}

func TestConfigIsChecked(t *testing.T) {
	good := Config{URL: "mqtt://h", ClientID: "c"}
	for want, change := range map[string]func(*Config){
		"client id":                func(c *Config) { c.ClientID = "" },
		"client id \"a/b\"":        func(c *Config) { c.ClientID = "a/b" },
		"group \"a#\"":             func(c *Config) { c.Group = "a#" },
		"topics \"no\"":            func(c *Config) { c.Topics = "no" },
		"a session of 1ms":         func(c *Config) { c.SessionExpiry = 1e6 },
		"70000 requests":           func(c *Config) { c.InFlight = 70000 },
		"not a URL":                func(c *Config) { c.URL = "mqtt://secret:%zz@h" },
		"must begin with mqtt://":  func(c *Config) { c.URL = "http://h" },
		"don't belong into":        func(c *Config) { c.URL = "mqtt://u:secret@h" },
		"and nothing after it":     func(c *Config) { c.URL = "mqtt://h/path" },
		"over mqtts:// only":       func(c *Config) { c.Login.CA = "x" },
		"needs its key":            func(c *Config) { c.URL = "mqtts://h"; c.Login.Certificate = "x" },
		"given twice":              func(c *Config) { c.Login = Login{Username: "u", Password: "secret", PasswordFile: "x"} },
		"without a user name":      func(c *Config) { c.Login.Password = "secret" },
		"no such file":             func(c *Config) { c.Login = Login{Username: "u", PasswordFile: "/no/such"} },
		"no certificate in PEM":    func(c *Config) { c.URL = "mqtts://h"; c.Login.CA = "/dev/null" },
		"authorities: open /no":    func(c *Config) { c.URL = "mqtts://h"; c.Login.CA = "/no/such" },
		"first line of /dev/null ": func(c *Config) { c.Login = Login{Username: "u", PasswordFile: "/dev/null"} },
	} {
		c := good
		change(&c)
		_, err := New(c)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", want, err)
		}
	}
	for url, want := range map[string]string{"mqtt://h": "h:1883", "mqtts://h": "h:8883", "mqtt://[::1]:7/": "[::1]:7", "mqtts://h:1": "h:1"} {
		c := good
		c.URL = url
		if b, err := New(c); err != nil || b.Address() != want {
			t.Errorf("%s: %v", url, err)
		}
	}
}
