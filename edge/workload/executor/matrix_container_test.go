package executor_test

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// ownNetwork shows that a container has an interface of its own and is told so.
func ownNetwork(*testing.T) trial {
	return trial{
		run:    map[string]any{"network": "bridge"},
		spec:   func(s *workload.Spec) { s.Network = schema.NetworkBridge },
		script: `echo "links $(ls /sys/class/net | tr '\n' ' ')"; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			s.logs("app", "links eth0 lo \n")
			r := s.says("app", "its addresses", func(r report) bool { return r.Get("addresses") != nil })
			var all []netip.Addr
			if err := json.Unmarshal([]byte(r.text("addresses")), &all); err != nil || !s.bridge.Pool.Contains(all[0]) {
				t.Errorf("addresses %v of %s: %v", all, s.bridge.Pool, err)
			}
		},
	}
}

func dns(*testing.T) trial {
	return trial{
		run:    map[string]any{"dns": map[string]any{"servers": []string{"192.0.2.53"}, "search": []string{"site.example"}}},
		spec:   func(s *workload.Spec) { s.DNS = &schema.DNS{Servers: []string{"192.0.2.53"}} },
		script: `cat /etc/resolv.conf; echo over; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			if log := s.logs("app", "over"); !strings.Contains(log, "nameserver 192.0.2.53\nsearch site.example\n") {
				t.Errorf("log:\n%s", log)
			}
		},
	}
}
