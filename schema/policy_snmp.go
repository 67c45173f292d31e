package schema

import (
	"net"
	"strconv"
	"strings"
)

// Limits of SNMP.
const (
	MaxOIDs         = 128 // asked for in one request
	maxArcs         = 128 // of one object identifier
	defaultOIDs     = 20
	defaultAgents   = 8   // asked at once
	DefaultSNMPPort = 161 // of agents
)

func (s *Source) snmpDefaults() {
	setDefault(&s.Version, "2c")
	setDefault(&s.MaxOIDs, defaultOIDs)
	setDefault(&s.Parallel, defaultAgents)
}

// validateAgents checks what is for SNMP and MQTT, or refuses it.
func (s *Source) validateAgents(c *check, p Protocol) {
	c.need(s.Credentials == "" || validID(s.Credentials) && s.Credentials[0] != '.', "source.credentials", "must be the name of a file in the node's directory of credentials: 1 to 64 of letters, digits and ._-, not beginning with a point", s.Credentials)
	c.need(p == SNMP || p == MQTT || s.Credentials == "", "source.credentials", "is for snmp and mqtt", s.Credentials)
	c.need(p == MQTT || s.MaxAge == 0, "source.maxAge", "is for mqtt", s.MaxAge)
	c.need(p == MQTT || !s.Retained, "source.retained", "is for mqtt", s.Retained)
	if p == MQTT {
		within(c, "source.maxAge", s.MaxAge, Duration(minAge), Duration(maxAge))
	}
	if p != SNMP {
		c.need(s.Version == "", "source.version", "is for snmp", s.Version)
		c.need(s.MaxOIDs == 0, "source.maxOids", "is for snmp", s.MaxOIDs)
		return
	}
	c.need(s.Version == "1" || s.Version == "2c" || s.Version == "3", "source.version", "must be 1, 2c or 3", s.Version)
	c.need(s.Version != "3" || s.Credentials != "", "source.credentials", "is needed for version 3: who asks is in them", nil)
	within(c, "source.maxOids", s.MaxOIDs, 1, MaxOIDs)
	within(c, "source.parallel", s.Parallel, 1, MaxParallel)
}

func (m *Meter) validateSNMP(c *check, at string) {
	_, _, ok := SNMPTarget(m.Address)
	c.need(ok, at+".address", "must be host or host:port", m.Address)
	c.need(m.Unit == 0, at+".unit", "is for Modbus; use address", m.Unit)
}

// SNMPTarget takes a meter's address to host and port.
func SNMPTarget(address string) (host string, port int, ok bool) {
	if ip := net.ParseIP(address); ip != nil {
		return address, DefaultSNMPPort, true
	}
	host, port = address, DefaultSNMPPort
	if strings.Contains(address, ":") {
		h, p, err := net.SplitHostPort(address)
		n, perr := strconv.Atoi(p)
		if err != nil || perr != nil || n < 1 || n > 65535 {
			return "", 0, false
		}
		host, port = h, n
	}
	return host, port, host != "" && len(host) <= 253 && !strings.ContainsAny(host, " /\\\t\n[]")
}

// onlyFor refuses what an item of a protocol can't have.
func (it *Item) onlyFor(c *check, at string, p Protocol) {
	modbus := p == Modbus || p == ""
	c.need(modbus || it.ScaleFrom == (Factors{}), at+".scaleFrom", "is for Modbus", nil)
	c.need(modbus || it.Block == 0, at+".block", "is for Modbus", it.Block)
	c.need(modbus || p == SNMP || p == MQTT || it.None == "", at+".none", "is for Modbus, SNMP and MQTT", it.None)
	c.need(p == SNMP || it.OID == "", at+".oid", "is for SNMP", it.OID)
	c.need(p == MQTT || it.Topic == "" && it.Path == "", at, "topic and path are for MQTT", nil)
}

// validateNamed checks an item of SNMP or MQTT.
func (it *Item) validateNamed(c *check, at string, p Protocol) {
	c.need(it.Function == 0 && it.Address == 0 && it.Order == "", at, "function, address and order are for Modbus", nil)
	c.need(it.DI == "" && it.Format == "" && it.Offset == 0 && !it.Signed, at, "di, offset, format and signed are for DL/T 645", nil)
	c.need(it.None == "" || isNumber(it.None), at+".none", "must be a number", it.None)
	if p == MQTT {
		it.validateMQTT(c, at)
		return
	}
	c.need(isOID(it.OID), at+".oid", "must be the object's instance as numbers with points, such as 1.3.6.1.2.1.1.3.0", it.OID)
	c.need(it.Type == "" || it.Type == "bool", at+".type", "must be bool, for a TruthValue, or left out: values say themselves what they are", it.Type)
}

func isOID(s string) bool {
	arcs := strings.Split(s, ".")
	if len(arcs) < 2 || len(arcs) > maxArcs {
		return false
	}
	for i, a := range arcs {
		n, err := strconv.ParseUint(a, 10, 32)
		if err != nil || len(a) > 1 && a[0] == '0' || i == 0 && n > 2 || i == 1 && n > 39 && arcs[0] != "2" {
			return false
		}
	}
	return true
}
