-- What each segment of examples/cdnow/segments means, in SQL: a view of its name with (customer, now) for each instant that
-- was asked of at which the customer is a member.
--
-- There is `purchase` (id, customer, day, moment, cds, value), from the file: `moment` is when its day begins in New York,
-- in UTC; ids grow in the file's order. And `asked` (customer, now). Instants have no zone, so an interval of days is of
-- 24 hours each.

-- What had happened by each instant that was asked of. `before` and `before_that` are the latest two instants of purchases
-- before it, `big_before` that of the latest one of 50 or more.
create table seen as
with instants as (
    select customer, moment,
        lag(moment) over (partition by customer order by moment) as before,
        lag(moment, 2) over (partition by customer order by moment) as before_that
    from (select distinct customer, moment from purchase)
),
told as (
    select purchase.*, before, before_that,
        max(moment) filter (value >= 50) over (
            partition by customer order by moment
            range between unbounded preceding and interval '1 microsecond' preceding
        ) as big_before
    from purchase join instants using (customer, moment)
)
select asked.now, told.* from asked join told on told.customer = asked.customer and told.moment <= asked.now;

-- What was known of each person then: attributes, and today's date in New York.
create table person as
select customer, now, first_day, days_to_second, today,
    case when this_year >= today then this_year else make_date(year(today) + 1, month(first_day), day(first_day)) end
        as anniversary
from (
    select *, make_date(year(today), month(first_day), day(first_day)) as this_year
    from (
        select customer, now, min(day) as first_day,
            -- The second in order; null when there is none.
            list(day order by moment, id)[2] - min(day) as days_to_second,
            timezone('America/New_York', timezone('UTC', now))::date as today
        from seen group by customer, now
    )
);

-- recency

create view "active" as
select distinct customer, now from seen where moment > now - interval '90 days';

create view "lapsed" as
select customer, now from seen group by customer, now having max(moment) <= now - interval '180 days';

create view "cooling" as
select customer, now from seen group by customer, now
having now - max(moment) >= interval '90 days' and now - max(moment) < interval '180 days';

create view "newcomers" as
select customer, now from seen group by customer, now having now - min(moment) < interval '30 days';

create view "still-here" as
select customer, now from seen group by customer, now
having min(day) < date '1997-02-01' and max(day) >= date '1998-01-01';

-- frequency

create view "one-timers" as
select customer, now from seen group by customer, now having count(*) = 1;

create view "loyal" as
select customer, now from seen group by customer, now having count(*) >= 5;

create view "on-a-spree" as
select customer, now from seen where moment > now - interval '30 days' group by customer, now having count(*) >= 3;

create view "steady" as
select customer, now from seen where moment > now - interval '180 days' and cds >= 2
group by customer, now having count(*) between 2 and 4;

create view "christmas-97" as
select distinct customer, now from seen where day >= date '1997-11-28' and day < date '1997-12-25';

create view "not-since-new-year" as
select customer, now from seen group by customer, now having max(day) < date '1998-01-01';

create view "regulars-who-left" as
select customer, now from seen group by customer, now
having count(*) filter (day < date '1997-07-01') >= 3 and max(moment) <= now - interval '120 days';

-- money

create view "big-spenders" as
select customer, now from seen group by customer, now having sum(value) >= 200;

create view "spending" as
select customer, now from seen where moment > now - interval '180 days'
group by customer, now having sum(value) > 50 and sum(value) <= 100;

create view "to-the-cent" as
select customer, now from seen group by customer, now having sum(value) between 25.76 and 29.95;

create view "small-baskets" as
select customer, now from seen group by customer, now having max(value) <= 15;

create view "never-cheap" as
select customer, now from seen where moment > now - interval '365 days' group by customer, now having min(value) >= 15;

create view "not-known-to-be-cheap" as
select customer, now from seen group by customer, now
having coalesce(min(value) filter (moment > now - interval '365 days') >= 15, true);

create view "middling" as
select customer, now from seen where moment > now - interval '90 days'
group by customer, now having sum(value) >= 20 * count(*) and sum(value) < 30 * count(*);

create view "started-big" as
select customer, now from seen group by customer, now having first(value order by moment, id) >= 50;

create view "ended-with-a-gift" as
select customer, now from seen group by customer, now having last(value order by moment, id) = 0;

create view "last-was-many" as
select customer, now from seen where moment > now - interval '180 days' and value > 0
group by customer, now having last(cds order by moment, id) >= 5;

-- sequences

create view "came-back-soon" as
with begun as (select customer, now, min(moment) as start from seen group by customer, now)
select distinct customer, now from seen join begun using (customer, now)
where moment > start and moment < start + interval '60 days';

create view "three-in-a-month" as
select distinct customer, now from seen where moment < before_that + interval '30 days';

create view "big-then-small" as
select distinct customer, now from seen where value < 15 and moment < big_before + interval '90 days';

create view "twice-in-a-fortnight" as
select distinct customer, now from seen
where moment < before + interval '14 days' and before > now - interval '120 days';

create view "quick-half-year" as
with recent as (select * from seen where moment > now - interval '180 days'),
begun as (select customer, now, min(moment) as start from recent group by customer, now)
select distinct customer, now from recent join begun using (customer, now)
where moment > start and moment < start + interval '30 days';

-- people

create view "anniversary-soon" as
select customer, now from person where anniversary - today <= 30;

create view "anniversary-today" as
select customer, now from person where anniversary = today;

create view "second-year" as
select customer, now from person where today - first_day between 366 and 730;

create view "early-cohort" as
select customer, now from person where strftime(first_day, '%Y-%m') in ('1997-01', '1997-02');

create view "no-second" as
select customer, now from person where days_to_second is null;

create view "slow-second" as
select customer, now from person where days_to_second >= 90;

create view "not-known-to-be-quick" as
select customer, now from person where coalesce(not days_to_second < 30, true);

-- together

create view "win-back" as
from "loyal" intersect from "lapsed";

create view "worth-winning-back" as
select * from "win-back"
where (customer, now) in (from "big-spenders" union from "started-big")
    and (customer, now) not in (from "ended-with-a-gift");

create view "in-between" as
select customer, now from person
where (customer, now) not in (from "active") and (customer, now) not in (from "lapsed");

create view "promising" as
select customer, now from seen where moment > now - interval '90 days' and value >= 20
group by customer, now having sum(value) >= 30 * count(*)
union
(from "came-back-soon" intersect from "active");
