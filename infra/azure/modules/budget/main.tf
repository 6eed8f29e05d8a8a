# Who pays hears of it before the bill does. Azure puts nodes and volumes into a resource group of their own, so the budget is the
# subscription's and counts both groups.

resource "azurerm_consumption_budget_subscription" "this" {
  name            = "${var.name}-monthly"
  subscription_id = "/subscriptions/${var.subscription}"
  amount          = var.monthly
  time_grain      = "Monthly"

  # It begins with the month that it is made in.
  time_period {
    start_date = formatdate("YYYY-MM-01'T'00:00:00'Z'", plantimestamp())
  }

  filter {
    dimension {
      name   = "ResourceGroupName"
      values = var.resource_groups
    }
  }

  notification {
    enabled        = true
    operator       = "GreaterThan"
    threshold      = 80
    threshold_type = "Actual"
    contact_emails = var.contacts
  }

  notification {
    enabled        = true
    operator       = "GreaterThan"
    threshold      = 100
    threshold_type = "Forecasted"
    contact_emails = var.contacts
  }

  lifecycle {
    # Another month is no other budget.
    ignore_changes = [time_period]
  }
}
