package report

import (
	"bytes"
	"fmt"
	"image/color"
	"io"
	"math"
	"slices"

	xfont "golang.org/x/image/font"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// The look of a chart, in points: 600 are 800 pixels, the width of a README.
const (
	chartWidth vg.Length = 600
	headHeight vg.Length = 40
	barHeight  vg.Length = 9
	barStep    vg.Length = 14
	panelHead  vg.Length = 22
	panelGap   vg.Length = 10
)

const (
	labelRoom = 1.45 // width of a panel over that of its longest bar: room for the figure
	wider     = 0.8  // how much wider a letter may be in the font that a viewer has instead
	longest   = 10   // length of the longest bar over that of ours, so that ours can be seen
)

// Few systems have this font. The fonts that they take instead are as wide.
const (
	fontName = "font-family:Liberation Sans"
	fallback = ",Arial,Helvetica,sans-serif"
)

var (
	oursColor  = color.RGBA{0x1f, 0x6f, 0xb4, 0xff}
	otherColor = color.RGBA{0xb6, 0xbe, 0xc8, 0xff}
	textColor  = color.RGBA{0x24, 0x29, 0x2f, 0xff}
	softColor  = color.RGBA{0x57, 0x60, 0x6a, 0xff}
)

// SVG draws the chart: a panel for each group, with a bar for each series and
// its figure at the end. Each panel has its own scale, and an arrow stands at
// a bar that would be too long.
func (b Bars) SVG(w io.Writer) error {
	columns, lines := b.grid()
	height := headHeight + vg.Length(lines)*b.panelHeight()
	canvas := vgsvg.New(chartWidth, height)
	if err := b.draw(draw.New(canvas), columns, lines); err != nil {
		return err
	}
	var svg bytes.Buffer
	if _, err := canvas.WriteTo(&svg); err != nil {
		return err
	}
	_, err := w.Write(bytes.ReplaceAll(svg.Bytes(), []byte(fontName), []byte(fontName+fallback)))
	return err
}

func (b Bars) draw(c draw.Canvas, columns, lines int) error {
	c.SetColor(color.White)
	c.Fill(c.Rectangle.Path())
	top := c.Max.Y
	c.FillText(style(14, textColor, true), vg.Point{X: panelGap, Y: top - 18}, b.Title)
	c.FillText(style(10, softColor, false), vg.Point{X: panelGap, Y: top - 33}, b.YLabel)
	c.Max.Y -= headHeight

	tiles := draw.Tiles{Cols: columns, Rows: lines, PadX: panelGap, PadLeft: panelGap, PadRight: panelGap}
	for i := range b.Groups {
		p, err := b.panel(i)
		if err != nil {
			return err
		}
		tile := tiles.At(c, i%columns, i/columns)
		tile.Min.Y += panelGap
		p.Draw(tile)
	}
	return nil
}

// grid returns how many columns and lines of panels there are.
func (b Bars) grid() (columns, lines int) {
	n := len(b.Groups)
	columns = min(n, 3)
	if n > 6 {
		columns = 4
	}
	switch name := len(b.longestName()); { // it stands beside every bar
	case name > 28:
		columns = min(columns, 1)
	case name > 12:
		columns = min(columns, 2)
	}
	columns = max(columns, 1)
	return columns, (n + columns - 1) / columns
}

func (b Bars) longestName() (name string) {
	for _, s := range b.Series {
		if len(s.Name) > len(name) {
			name = s.Name
		}
	}
	return name
}

func (b Bars) panelHeight() vg.Length {
	return panelHead + vg.Length(len(b.Series))*barStep + panelGap
}

// panel draws one group, the first series on top.
func (b Bars) panel(group int) (*plot.Plot, error) {
	p := plot.New()
	p.Title.Text = b.Groups[group]
	p.Title.TextStyle = style(11, textColor, true)
	p.Title.TextStyle.XAlign, p.Title.TextStyle.YAlign = draw.XCenter, draw.YTop
	p.Title.Padding = 3
	p.HideX()
	p.Y.LineStyle.Width = 0
	p.Y.Tick.LineStyle.Width, p.Y.Tick.Length = 0, 0
	p.Y.Tick.Label = style(10, textColor, false)
	p.Y.Tick.Label.XAlign, p.Y.Tick.Label.YAlign = draw.XRight, draw.YCenter
	p.Y.Padding = wider * vg.Length(len(b.longestName()))

	n := len(b.Series)
	names := make([]string, n)
	var shown []float64
	for i, s := range b.Series {
		names[n-1-i] = s.Name
		if v := s.Values[group]; !math.IsNaN(v) {
			shown = append(shown, v)
		}
	}
	limit := slices.Max(append(shown, 0))
	if b.Ours >= 0 && b.Ours < n {
		if own := b.Series[b.Ours].Values[group]; own > 0 {
			limit = min(limit, own*longest)
		}
	}
	if limit == 0 {
		limit = 1 // nothing to see
	}
	for i, s := range b.Series {
		v := s.Values[group]
		if err := addBar(p, n-1-i, v, limit, i == b.Ours); err != nil {
			return nil, fmt.Errorf("%s of %s: %w", s.Name, b.Groups[group], err)
		}
	}
	p.NominalY(names...)
	p.Y.Tick.Length = 0
	p.X.Min, p.X.Max = 0, limit*labelRoom
	p.Y.Min, p.Y.Max = -0.6, float64(n)-0.4
	return p, nil
}

// addBar draws a bar and its figure.
func addBar(p *plot.Plot, place int, value, limit float64, ours bool) error {
	label := None
	length := 0.0
	if !math.IsNaN(value) {
		label, length = Short(value), min(value, limit)
		if length < value {
			label = "→ " + label
		}
	}
	bar, err := plotter.NewBarChart(plotter.Values{length}, barHeight)
	if err != nil {
		return err
	}
	bar.Horizontal, bar.XMin, bar.LineStyle.Width = true, float64(place), 0
	bar.Color = otherColor
	if ours {
		bar.Color = oursColor
	}
	figure, err := plotter.NewLabels(plotter.XYLabels{
		XYs:    plotter.XYs{{X: length, Y: float64(place)}},
		Labels: []string{label},
	})
	if err != nil {
		return err
	}
	figure.TextStyle[0] = style(10, textColor, ours)
	figure.TextStyle[0].YAlign = draw.YCenter
	figure.Offset = vg.Point{X: 3, Y: 2} // on one line with the name
	p.Add(bar, figure)
	return nil
}

func style(size float64, c color.Color, bold bool) text.Style {
	f := font.Font{Typeface: "Liberation", Variant: "Sans", Size: vg.Points(size)}
	if bold {
		f.Weight = xfont.WeightBold
	}
	return text.Style{Color: c, Font: f, Handler: plot.DefaultTextHandler}
}
