package container

import (
	"slices"
	"testing"

	"gnomon/edge/workload"
	"gnomon/edge/workload/instance"
	"gnomon/schema"
)

func TestAlone_PortsThatNoFormerInstanceHas(t *testing.T) {
	port := func(number int, protocol string) schema.Port {
		return schema.Port{Host: number, Container: number, Protocol: protocol}
	}
	all := []schema.Port{port(80, "tcp"), port(80, "udp"), port(81, "tcp")}
	for what, c := range map[string]struct {
		former string
		ports  []schema.Port
		want   []schema.Port
	}{
		"with nothing before":                   {"", nil, all},
		"beside one that has some":              {"a", []schema.Port{port(80, "tcp"), port(82, "tcp")}, all[1:]},
		"beside one that has none":              {"a", []schema.Port{}, all},
		"for an agent that doesn't say which":   {"a", nil, nil},
		"beside one that has them and no other": {"a", all, nil},
	} {
		r := instance.Request{Spec: workload.Spec{Ports: all, Former: c.former}, FormerPorts: c.ports}
		if got := alone(r); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", what, got, c.want)
		}
	}
}
