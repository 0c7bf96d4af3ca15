package relp

import (
	"errors"
	"fmt"
)

const (
	maxNumber  = 999_999_999 // of a TXNR and a DATALEN: nine digits
	maxDigits  = 9
	maxCommand = 32
)

var (
	errTXNR    = errors.New("relp: no frame: want a transaction number of 1 to 9 digits and a space")
	errCommand = errors.New("relp: no frame: want a command of 1 to 32 letters and a space")
	errLength  = errors.New("relp: no frame: want a data length of 1 to 9 digits, and a space or LF")
	errTrailer = errors.New("relp: no LF after the data of a frame")
)

// header is the header of a frame.
type header struct {
	txnr    uint32
	command []byte // a slice of what was parsed
	size    int    // DATALEN
}

// parseHeader reads the header at the front of data. n is its length without the byte after DATALEN, which data contains;
// 0 if more bytes are needed.
func parseHeader(data []byte) (h header, n int, err error) {
	txnr, n, err := number(data, 0, errTXNR)
	if n == 0 || err != nil {
		return h, 0, err
	}
	if data[n] != ' ' {
		return h, 0, errTXNR
	}
	n++
	from := n
	for ; n < len(data) && n-from <= maxCommand && isLetter(data[n]); n++ {
	}
	switch {
	case n-from > maxCommand:
		return h, 0, errCommand
	case n == len(data):
		return h, 0, nil
	case n == from || data[n] != ' ':
		return h, 0, errCommand
	}
	command := data[from:n]
	size, n, err := number(data, n+1, errLength)
	if n == 0 || err != nil {
		return h, 0, err
	}
	if c := data[n]; c != ' ' && (c != '\n' || size > 0) {
		return h, 0, errLength
	}
	return header{txnr: uint32(txnr), command: command, size: size}, n, nil
}

// number reads 1 to 9 digits at data[from:] and returns where they end; 0 if data does not contain the end yet.
func number(data []byte, from int, bad error) (v, n int, err error) {
	for n = from; n < len(data) && data[n]-'0' <= 9; n++ {
		if n-from == maxDigits {
			return 0, 0, bad
		}
		v = 10*v + int(data[n]-'0')
	}
	switch {
	case n == len(data):
		return 0, 0, nil
	case n == from:
		return 0, 0, bad
	}
	return v, n, nil
}

func isLetter(c byte) bool { return c|0x20-'a' < 26 }

// frame returns the length of the whole frame whose header is n bytes long, 0 if it is incomplete, and its data.
func (h *header) frame(data []byte, n int) (length int, payload []byte, err error) {
	switch {
	case h.size > 0:
		n++ // the space
	case data[n] == ' ':
		// Some clients send the space even if there is no data.
		if n++; n == len(data) {
			return 0, nil, nil
		}
	}
	if len(data) < n+h.size+1 {
		return 0, nil, nil
	}
	if data[n+h.size] != '\n' {
		return 0, nil, errTrailer
	}
	return n + h.size + 1, data[n : n+h.size : n+h.size], nil
}

// next returns the transaction number after txnr: 1 after the largest, since hints have 0.
func next(txnr uint32) uint32 {
	if txnr == maxNumber {
		return 1
	}
	return txnr + 1
}

// orderError returns the error for a missing or repeated frame.
func orderError(got, want uint32) error {
	return fmt.Errorf("relp: transaction number %d, expected %d", got, want)
}
