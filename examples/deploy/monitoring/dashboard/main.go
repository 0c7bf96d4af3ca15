package main

import (
	"encoding/json"
	"log"
	"os"

	"github.com/grafana/grafana-foundation-sdk/go/cog"
	"github.com/grafana/grafana-foundation-sdk/go/cog/variants"
	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func main() {
	b, err := render()
	if err != nil {
		log.Fatal(err)
	}
	if _, err := os.Stdout.Write(b); err != nil {
		log.Fatal(err)
	}
}

// render returns the dashboard as indented JSON.
func render() ([]byte, error) {
	d, err := build()
	if err != nil {
		return nil, err
	}
	b, err := json.MarshalIndent(d, "", "  ")
	return append(b, '\n'), err
}

// source is the data source that the user selects.
var source = common.DataSourceRef{Type: cog.ToPtr("prometheus"), Uid: cog.ToPtr("${datasource}")}

// build makes the dashboard from the panels.
func build() (dashboard.Dashboard, error) {
	d := dashboard.NewDashboardBuilder("Penstock").Uid("penstock").Tags([]string{"penstock"}).
		Description("From the listeners to the destinations: what is received, kept, lost and delivered.").
		Time("now-6h", "now").Refresh("30s").Timezone("browser").Tooltip(dashboard.DashboardCursorSyncCrosshair).
		WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Data source").Type("prometheus")).
		WithVariable(choice("instance", "Instance", "label_values(penstock_build_info, instance)")).
		WithVariable(choice("class", "Class", `label_values(penstock_class_up{instance=~"$instance"}, class)`))
	for _, r := range rows {
		d.WithRow(dashboard.NewRowBuilder(r.title))
		for _, p := range r.panels {
			if p.number {
				d.WithPanel(p.stat())
			} else {
				d.WithPanel(p.chart())
			}
		}
	}
	return d.Build()
}

// choice returns a variable whose values come from Prometheus. All are selected by default.
func choice(name, label, query string) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(source).Query(dashboard.StringOrMap{String: &query}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Sort(dashboard.VariableSortAlphabeticalAsc).Multi(true).IncludeAll(true)
}

// query is one expression of a panel. The legend may use labels in double braces.
type query struct{ expr, legend string }

// panel is a chart, or a number.
type panel struct {
	title, help, unit string
	queries           []query
	number            bool
	// alarm is the value from which on a number is red; 0 means never.
	alarm float64
}

// row is a group of panels.
type row struct {
	title  string
	panels []panel
}

func (p *panel) targets() (all []cog.Builder[variants.Dataquery]) {
	for i, q := range p.queries {
		all = append(all, prometheus.NewDataqueryBuilder().Expr(q.expr).LegendFormat(q.legend).RefId(string(rune('A'+i))).Datasource(source))
	}
	return all
}

func (p *panel) chart() *timeseries.PanelBuilder {
	b := timeseries.NewPanelBuilder().Title(p.title).Description(p.help).Unit(p.unit).Datasource(source).Height(8).Span(8).
		Min(0).FillOpacity(8).LineWidth(1).ShowPoints(common.VisibilityModeNever).
		Legend(common.NewVizLegendOptionsBuilder().DisplayMode(common.LegendDisplayModeList).Placement(common.LegendPlacementBottom).ShowLegend(true)).
		Tooltip(common.NewVizTooltipOptionsBuilder().Mode(common.TooltipDisplayModeMulti).Sort(common.SortOrderDescending))
	for _, t := range p.targets() {
		b.WithTarget(t)
	}
	return b
}

func (p *panel) stat() *stat.PanelBuilder {
	b := stat.NewPanelBuilder().Title(p.title).Description(p.help).Unit(p.unit).Datasource(source).Height(4).Span(4).
		GraphMode(common.BigValueGraphModeNone).ReduceOptions(common.NewReduceDataOptionsBuilder().Calcs([]string{"lastNotNull"}))
	steps := []dashboard.Threshold{{Color: "green"}}
	if p.alarm > 0 {
		steps = append(steps, dashboard.Threshold{Value: &p.alarm, Color: "red"})
	}
	b.Thresholds(dashboard.NewThresholdsConfigBuilder().Mode(dashboard.ThresholdsModeAbsolute).Steps(steps))
	for _, t := range p.targets() {
		b.WithTarget(t)
	}
	return b
}
