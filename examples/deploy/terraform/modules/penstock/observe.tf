# The CloudWatch agent on each server scrapes the collector once a minute, and sends what is selected here as metrics with the
# dimensions fleet and group. Alarms and the scale-in use these names; a test compares them with those that the collector exports.
locals {
  namespace = "Penstock"
  metric = {
    pending_seconds = "penstock_destination_lag_seconds"                  # age of the oldest record that a destination lacks
    lost            = "penstock_lost_records_total"                       # by cause
    damaged         = "penstock_damaged_records"                          # kept records that the disk does not return
    until_full      = "penstock_spool_until_full_seconds"                 # at the present rate
    allowances      = "penstock_network_allowance_exceeded_packets_total" # queued or dropped by EC2 before the kernel sees them
    alive           = "penstock_build_info"                               # 1 for each process
    retained        = "penstock_drain_retained"                           # 1 on an instance that was kept after an unfinished drain
  }
  reaper_metric = {
    kept    = "penstock_reaper_kept_volumes"          # volumes that are not proven to be delivered, by reason
    oldest  = "penstock_reaper_oldest_volume_seconds" # since the oldest volume has been without its instance
    success = "penstock_reaper_success_age_seconds"   # since the last pass without an error
    alive   = "penstock_reaper_info"                  # 1 for each process
  }
  sent = concat(values(local.metric), var.reaper ? values(local.reaper_metric) : [])
}

resource "aws_cloudwatch_log_group" "metrics" {
  name              = "/penstock/${var.name}/metrics"
  retention_in_days = 30
  kms_key_id        = null
  tags              = local.tags
}

locals {
  agent = { for k, g in var.groups : k => {
    logs = {
      force_flush_interval = 15
      metrics_collected = {
        prometheus = {
          log_group_name         = aws_cloudwatch_log_group.metrics.name
          prometheus_config_path = "/etc/penstock/prometheus.yaml"
          emf_processor = {
            metric_declaration_dedup = true
            metric_namespace         = local.namespace
            metric_declaration = [{
              source_labels    = ["job"]
              label_matcher    = "^penstock(-reaper)?$"
              dimensions       = [["fleet", "group"]]
              metric_selectors = [for m in local.sent : "^${m}$"]
            }]
          }
        }
      }
    }
  } }
  scrape = { for k, g in var.groups : k => {
    global = { scrape_interval = "1m", scrape_timeout = "10s" }
    scrape_configs = [for job, port in merge({ penstock = local.http_port }, var.reaper ? { penstock-reaper = local.reaper_port } : {}) : {
      job_name       = job
      static_configs = [{ targets = ["127.0.0.1:${port}"], labels = { fleet = var.name, group = k } }]
    }]
  } }
}
