package nic

import "govmd/internal/net"

// RARP returns a frame from which switches learn where a card is: a request for the
// address of itself (RFC 903), as long as a frame has to be.
func RARP(m net.MAC) []byte {
	p := make([]byte, 60)
	for i := range 6 {
		p[i] = 0xff
	}
	copy(p[6:], m[:])
	copy(p[12:], []byte{0x80, 0x35, 0, 1, 8, 0, 6, 4, 0, 3}) // Ethernet, IPv4, request reverse
	copy(p[22:], m[:])
	copy(p[32:], m[:])
	return p
}
