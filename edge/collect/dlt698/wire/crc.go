package wire

// crcTable is that of CRC-16/X-25, polynomial 1021 reflected.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		c := uint16(i)
		for range 8 {
			if c&1 == 1 {
				c = c>>1 ^ 0x8408
			} else {
				c >>= 1
			}
		}
		table[i] = c
	}
	return table
}()

// Checksum is the one of header and frame: CRC-16/X-25, sent low byte first.
func Checksum(p []byte) uint16 {
	c := uint16(0xffff)
	for _, b := range p {
		c = c>>8 ^ crcTable[byte(c)^b]
	}
	return ^c
}
