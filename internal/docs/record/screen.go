//go:build linux

package main

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// screen is a terminal that understands what our programs send: text, line ends, colours, and going back over lines to draw them
// again. It never scrolls: all lines stay. Anything else is an error, because the picture would be wrong.
type screen struct {
	columns  int
	cells    [][]cell
	row, col int
	style    string
	rest     []byte // the beginning of a sequence whose end has not been read yet
}

type cell struct {
	char  rune
	style string // "" or one of the classes of the drawing: b, d, r, g
}

// line is a line in pieces of one style, without the spaces between them.
type line []piece

type piece struct {
	column int
	style  string
	text   string
}

// styles are the attributes that our programs use, by the parameter of their sequence.
var styles = map[string]string{"": "", "0": "", "1": "b", "2": "d", "31": "r", "32": "g"}

func (s *screen) write(data []byte) error {
	data = append(s.rest, data...)
	s.rest = nil
	for len(data) > 0 {
		n, err := s.step(data)
		if err != nil {
			return err
		}
		if n == 0 {
			s.rest = append([]byte(nil), data...)
			return nil
		}
		data = data[n:]
	}
	return nil
}

// step takes one character or sequence. It returns 0 if its end is missing.
func (s *screen) step(data []byte) (int, error) {
	switch data[0] {
	case '\x1b':
		return s.sequence(data)
	case '\r':
		s.col = 0
		return 1, nil
	case '\n':
		s.row++
		s.at(s.row)
		return 1, nil
	}
	if !utf8.FullRune(data) {
		return 0, nil
	}
	r, n := utf8.DecodeRune(data)
	if r < ' ' || r == utf8.RuneError {
		return 0, fmt.Errorf("the terminal does not understand %q", data[:n])
	}
	if s.col == s.columns {
		s.row, s.col = s.row+1, 0
	}
	l := s.at(s.row)
	for len(*l) <= s.col {
		*l = append(*l, cell{char: ' '})
	}
	(*l)[s.col] = cell{r, s.style}
	s.col++
	return n, nil
}

// sequence takes an escape sequence: ESC [ parameters letter.
func (s *screen) sequence(data []byte) (int, error) {
	end := 2
	for end < len(data) && (data[end] >= '0' && data[end] <= '9' || data[end] == ';') {
		end++
	}
	if end >= len(data) {
		return 0, nil
	}
	param := string(data[2:end])
	style, isStyle := styles[param]
	switch what := string(data[1:2]) + string(data[end:end+1]); {
	case what == "[A":
		up := 1
		if param != "" {
			if _, err := fmt.Sscan(param, &up); err != nil {
				return 0, err
			}
		}
		s.row = max(0, s.row-up)
	case what == "[K" && param == "2":
		*s.at(s.row) = (*s.at(s.row))[:0]
	case what == "[J" && param == "":
		s.at(s.row)
		s.cells = s.cells[:s.row+1]
		*s.at(s.row) = (*s.at(s.row))[:min(s.col, len(*s.at(s.row)))]
	case what == "[m" && isStyle:
		s.style = style
	default:
		return 0, fmt.Errorf("the terminal does not understand %q", data[:end+1])
	}
	return end + 1, nil
}

// at returns the line, which is created if it is new.
func (s *screen) at(row int) *[]cell {
	for len(s.cells) <= row {
		s.cells = append(s.cells, nil)
	}
	return &s.cells[row]
}

// lines returns what the screen shows. Empty lines at its end are left out.
func (s *screen) lines() []line {
	lines := make([]line, 0, len(s.cells))
	for _, cells := range s.cells {
		lines = append(lines, pieces(cells))
	}
	for len(lines) > 0 && len(lines[len(lines)-1]) == 0 {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// pieces cuts a line where the style changes.
func pieces(cells []cell) (l line) {
	for begin := 0; begin < len(cells); {
		end := begin
		var text strings.Builder
		for end < len(cells) && cells[end].style == cells[begin].style {
			text.WriteRune(cells[end].char)
			end++
		}
		// Spaces at the ends need no drawing.
		trimmed := strings.TrimLeft(text.String(), " ")
		if column := begin + utf8.RuneCountInString(text.String()) - utf8.RuneCountInString(trimmed); trimmed != "" {
			l = append(l, piece{column, cells[begin].style, strings.TrimRight(trimmed, " ")})
		}
		begin = end
	}
	return l
}
