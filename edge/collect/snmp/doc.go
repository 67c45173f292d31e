// Package snmp reads devices with an SNMP agent, versions 1, 2c and 3 (RFC 3411 to
// 3418), over UDP, with GET alone. Packets are gosnmp's; who is asked when, what is
// asked together, and what an answer is worth, is decided here.
//
// It promises that a value is only ever that of the object it was asked for, that
// what an agent refuses takes nothing else along, that agents don't wait for each
// other, and that nothing is open between polls. Community and passwords come from
// credentials.Dir, and are in no error and no log.
//
// It never sets anything, and takes no traps.
package snmp
