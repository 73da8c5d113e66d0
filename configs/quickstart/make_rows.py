#!/usr/bin/env python3
"""Make configs/quickstart/tickets.jsonl: support tickets with a team and a subject.

    python3 configs/quickstart/make_rows.py            write tickets.jsonl
    python3 configs/quickstart/make_rows.py --check    print figures about the written file
    python3 configs/quickstart/make_rows.py --split DIR  hand.jsonl apart from the other rows, for tune.yaml

The rows are hand.jsonl and hand_2.jsonl plus rows drawn from the frames below. A frame is one line "ticket => subject".
  {i}               a slot, filled from a list of words; the same slot in the subject gets the same words
  [a|b|c]           one of several wordings
  [v:a|b|c]         the same, remembered as {v} for the subject; likewise [u:a|b|c] and {u}
An indented line goes on with the frame before it.
Everything is drawn from one seeded random.Random, so the file is the same on every computer.
"""

import json
import math
import random
import re
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
HAND = HERE / "hand.jsonl"
HAND_2 = HERE / "hand_2.jsonl"
OUT = HERE / "tickets.jsonl"
GOLDEN = HERE.parent.parent / "golden" / "support_desk" / "rows.jsonl"
SEED = 20240611
PER_TEAM = 800
MAX_WORDS, MIN_WORDS = 35, 8

TEAMS = ["billing", "shipping", "returns", "account", "repair", "app", "orders", "stock", "subscription", "security"]


def words(text):
    return [w.strip().replace("_", " ") for w in text.split()]


# ---------------------------------------------------------------- word lists (_ joins words of one entry)

COLOURS = words("blue red green yellow black white grey brown pink purple orange silver golden beige olive cream")

ADJ = COLOURS + words("""
small large big round square heavy light new cheap double wide narrow striped plain dark bright portable outdoor kids
mini classic modern little pretty simple second_hand shiny tiny fancy expensive
""")
HARD = words("wooden metal plastic steel glass copper oak pine bamboo folding tall solid iron carved")
SOFT = words("leather cotton wool silk velvet soft long short warm checked knitted printed lined summer winter")

# things with no plug
THINGS = words("""
kettle pan pot bowl plate cup mug jug teapot vase mirror candle basket bucket broom mop ladder shelf bookcase desk
table chair stool bench sofa armchair bed mattress pillow blanket quilt rug carpet curtain towel bath_mat shower_curtain
cushion clock picture_frame poster lantern umbrella suitcase backpack handbag wallet purse belt hat cap scarf jacket
coat raincoat shirt sweater dress skirt blouse suit tie hoodie vest robe necklace bracelet ring watch brooch tent
sleeping_bag hammock rope compass fishing_rod bicycle helmet skateboard sled surf_board tennis_racket football
basketball
yoga_mat dumbbell punch_bag trampoline swing slide sand_box puzzle board_game chess_set doll toy_car toy_train
teddy_bear
kite drum guitar violin flute piano_stool music_stand notebook diary pencil_case pen stapler globe easel paint_set
ink_bottle envelope_box calendar ruler tool_box hammer saw wrench axe shovel rake hose wheelbarrow flower_pot bird_house
dog_bed cat_tree dog_collar bird_cage fish_tank pet_carrier lunch_box water_bottle thermos cutting_board bread_knife
cake_tin baking_tray rolling_pin spice_rack wine_rack salt_mill tea_pot_stand egg_cup ice_bucket tray table_cloth
laundry_basket ironing_board coat_rack shoe_rack drawer_set wardrobe cabinet chest crib pram stroller high_chair
baby_bath changing_mat car_seat roof_box bike_lock bike_pump bike_basket camping_stove cool_box picnic_basket
beach_chair
parasol sun_lounger barbecue fire_pit garden_gnome door_mat door_handle lamp_shade wall_clock mail_box key_ring
phone_case laptop_bag tablet_stand camera_bag tripod telescope microscope magnifier walking_stick knee_pad pillow_case
duvet sewing_box knitting_set bead_kit wreath garland christmas_tree snow_globe costume mask wig tiara crown statue
""")

# things with a plug or a battery
ELECTRIC = words("""
toaster blender mixer juicer coffee_machine espresso_maker rice_cooker slow_cooker fryer microwave oven fridge freezer
dishwasher washing_machine dryer iron vacuum_cleaner fan heater air_cooler lamp desk_lamp floor_lamp torch alarm_clock
radio speaker headset record_player television projector monitor printer scanner keyboard mouse laptop tablet camera
webcam drone scooter electric_bike treadmill exercise_bike massage_gun hair_dryer razor toothbrush curling_iron
thermometer scale doorbell smoke_alarm baby_monitor night_light power_bank charger router remote game_console joystick
drill sander lawn_mower hedge_trimmer leaf_blower pump sewing_machine fairy_light electric_blanket waffle_iron
ice_cream_maker food_processor bread_maker grill humidifier clock_radio walkie_talkie metal_detector robot train_set
""")

PLURAL = words("""
boots shoes sandals slippers trainers heels socks gloves mittens jeans trousers shorts leggings tights pyjamas
sunglasses earrings headphones candles curtains plates forks spoons knives glasses mugs bowls towels sheets pillows
cushions napkins coasters tiles curtain_rings nails screws seeds bulbs roses tulips batteries pencils markers crayons
stickers balloons cards blocks marbles dice skates skis hiking_boots rain_boots running_shoes dance_shoes football_boots
swim_goggles knee_socks bed_sheets table_mats wine_glasses tea_cups place_mats storage_boxes bath_towels wall_hooks
picture_frames garden_chairs bar_stools floor_tiles curtain_rods paint_brushes bicycle_lights dog_treats
""")

WEAR = words("""
jacket coat raincoat shirt sweater dress skirt blouse suit hoodie vest robe jumper cardigan swimsuit t-shirt polo
uniform costume hat cap helmet belt ring bracelet parka blazer ski_suit wetsuit tunic kimono apron waistcoat nightgown
""")
WEARP = words("""
boots shoes sandals slippers trainers heels socks gloves jeans trousers shorts leggings tights pyjamas hiking_boots
rain_boots running_shoes dance_shoes football_boots ski_boots loafers clogs skates mittens overalls
""")

CITIES = words("""
London Paris Berlin Rome Boston Dallas Denver Chicago Leeds York Bath Cardiff Dublin Oslo Vienna Prague Lisbon Milan
Turin Munich Hamburg Bonn Lyon Nice Geneva Zurich Athens Warsaw Krakow Bristol Oxford Brighton Belfast Toronto Sydney
Perth Seattle Austin Miami Houston Phoenix Portland Madrid Porto Glasgow Derby Exeter Dover Hull
""")
COUNTRIES = words("""
Norway Sweden Finland Denmark Iceland Ireland Scotland Wales France Spain Portugal Italy Greece Poland Austria Turkey
Canada Brazil Mexico Chile Peru Japan China India Egypt Kenya Russia Texas Florida Australia Germany Belgium Malta
""")
DAYS = words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
MONTHS = words("January February March April May June July August September October November December")
NUMBERS = words("two three four five six seven eight nine ten twelve")
MONEY = words("pounds dollars euros")
CARDS = words("credit_card debit_card visa_card mastercard bank_card prepaid_card paypal bank_account gift_card")
NAMES = words("""
Anna Emma Laura Maria Sarah Julia Lisa Nina Tom Paul Peter Mark David Daniel Robert Frank Simon George Alice Clara
Helen Ruth Martin Oscar Leo Max
""")
SURNAMES = words("""
Smith Brown Miller Cook Fisher Hill Wood Stone King Green Young Carter Parker Turner Walker Cooper Mason Bell Ford
Gray Hunt Lane Marsh Page Reed Rose West Wells
""")
DEVICES = words("""
iphone ipad android_phone samsung_phone tablet laptop mac windows_computer pixel_phone galaxy_phone chromebook
huawei_phone desktop_computer nokia_phone smart_tv
""")
BROWSERS = words("chrome firefox safari edge opera")
PAGES = words("""
search_page checkout_page review_page basket_page start_page help_page sale_page payment_page contact_page map_page
gift_page size_page news_page address_page order_page wish_list photo_gallery product_page category_page voucher_page
delivery_page store_finder size_guide chat_window settings_menu filter_menu main_menu video_player cart_screen
home_screen login_screen scanner_screen profile_screen favourites_list
""")
SECTIONS = words("""
toys garden kitchen shoes books sports lamps furniture baby pets music jewellery camping bathroom office clothes outlet
tools bedding gifts
""")
BOXES = words("""
coffee tea wine flower fruit vegetable snack cheese book beauty razor vitamin dog_food cat_food diaper meal chocolate
magazine toy craft sock plant bread juice beer puzzle soap spice honey perfume
""")
PLANS = words("""
basic plus premium gold silver bronze platinum family student business starter standard prime deluxe senior team couple
junior
""")
PARTS = words("""
handle lid leg wheel hinge strap zip button lock cover base screw knob spring frame corner seam clip hook cap belt arm
string edge bottom top foot back_panel bracket
""")
ELECTRIC_PARTS = words("""
handle lid button lock cover base screw knob door tap tube wire switch plug cable filter drawer dial hinge clip stand
""")
ROLES = words("wife husband mother father son daughter sister brother uncle aunt neighbour friend boss colleague")
PRIZES = words("""
camera phone television car holiday laptop gift_card watch tablet voucher fridge drone bicycle coffee_machine speaker
console
""")
CHANNELS = words("email text phone_call letter whatsapp_message pop_up facebook_message voice_message chat_message sms")
SECRETS = words("""
password card_number pin bank_details login_code security_code passport_number date_of_birth social_security_number
card_code home_address sort_code
""")
FIRMS = words("""
advertisers partners insurers banks other_shops call_centres data_brokers market_researchers social_networks agencies
marketing_firms third_parties
""")
HARD_THINGS = set(words("""
bowl plate vase candle_holder basket bucket ladder shelf bookcase desk table chair stool bench chest cabinet wardrobe
tray wine_rack spice_rack shoe_rack coat_rack crib high_chair drawer_set picture_frame flower_pot bird_house beach_chair
tool_box lunch_box mail_box bar_stools garden_chairs picture_frames plates bowls cutting_board piano_stool statue clock
"""))
SOFT_THINGS = set(words("""
pillow blanket quilt rug carpet curtain towel cushion scarf jacket coat shirt sweater dress skirt blouse suit hoodie
vest robe jumper cardigan tunic parka blazer hat cap belt purse handbag wallet boots shoes slippers gloves mittens jeans
trousers shorts leggings tights pyjamas socks curtains towels pillows cushions napkins bed_sheets table_cloth
"""))

GLASS_THINGS = words("""
mirror vase lantern picture_frame fish_tank clock cabinet table wall_clock globe teapot
snow_globe
""")
KITCHEN_THINGS = words("""
pan pot bowl plate cup mug jug teapot cutting_board cake_tin baking_tray bread_knife tray
thermos
""")

ELECTRIC_FAULTS = [x.strip() for x in """
does not turn on; will not switch on; will not start; stopped working; stopped heating; does not heat up; keeps
overheating;
smells of smoke; smells burnt; makes a loud noise; makes a grinding sound; buzzes all the time; rattles and shakes;
leaks water; leaks oil; sparks at the plug; blows the fuse; gives electric shocks; shuts down after a minute;
switches off by itself; will not charge; loses charge fast; shows an error code; has a black screen; has a cracked
screen;
has a dead battery; has a loose cable; has a broken plug; has no power; flickers all the time; blinks red; does not
react;
is stuck on full power; runs too slowly; vibrates too much; gets far too hot; went dead; burnt out; has no sound;
crackles and hisses; does not connect; loses the signal; will not pair; trips the power; hums loudly; beeps without end;
stays black; stays cold; lost its power; lost its colours; prints blank pages; does not shut; does not spin any more;
drips on the floor; drops water all over; slips and jerks; squeaks and grinds; shows wrong numbers; runs backwards;
jams all the time; goes off at night; skips and stutters; is leaking; is stuck; turned yellow; cuts out when warm;
""".replace("\n", " ").split(";") if x.strip()]
THING_FAULTS = [x.strip() for x in """
is cracked; is broken; is bent; is torn; fell apart; wobbles badly; has a hole; has a deep scratch; has a crack;
has a dent; is chipped; is rusty; has rust spots; came apart; snapped in two; split down the middle; broke in half;
lost its colour; peels and flakes; is coming loose; collapsed under me; has a sharp edge; does not close;
does not open; will not fold; creaks and squeaks; ripped at the side; is faulty; is damaged; has a missing part;
arrived smashed; arrived broken; arrived scratched; arrived with a crack; bends too easily; is crooked; tips over;
smells of chemicals; lets in water; leaks at the bottom; has mould on it; is frayed; is stained; came dented;
shattered at once; rips open easily; bent in the wind; sags in the middle;
lost a leg; lost its shape; stains my hands; sticks and jams; is falling to pieces; has a gap at the side; drips;
""".replace("\n", " ").split(";") if x.strip()]
PART_FAULTS = [x.strip() for x in """
broke off; came off; fell off; snapped off; is loose; is missing; is stuck; is bent; is cracked; jams; is broken;
does not fit; wore out; split open; will not move; does not hold; is wobbly; got torn; is rusty; popped out;
""".replace("\n", " ").split(";") if x.strip()]
APP_FAULTS = [x.strip() for x in """
crashes; freezes; does not load; stays blank; goes white; keeps spinning; will not open; shows an error; hangs;
closes by itself; is very slow; jumps around; does not scroll; looks broken; flickers; goes black; logs an error 404;
does not respond; loads forever; reloads again and again; shows strange signs; shows the wrong language; is cut off;
""".replace("\n", " ").split(";") if x.strip()]

# ---------------------------------------------------------------- frames

FRAMES = {}

FRAMES["billing"] = """
I was [v:charged|billed] twice for the {i} [and want one payment back|on my {card}|and only got one]. => {v} twice for
    {i}
You [debited|took the money from] my {card} twice for [the same|one] {i}. => Charged twice for {i}
[I have been|It looks like I was] [v:overcharged|overbilled] for the {p}, the [total|sum|amount] is {m} too high. =>
    {v} for {p}
My {card} was [v:charged|debited] {m} in {month} and I [do not know why|have no idea what for|bought nothing then]. =>
    {card} {v} {m} in {month}
There is a [strange|unknown|second|odd] [v:charge|payment|debit|withdrawal] of {m} on my [bank|card] statement. =>
    Unknown {v} of {m}
Please [send|mail|email|issue] me [an invoice|a proper invoice|a tax invoice] for the {i} [for my tax return|for my
    bookkeeper|with our firm on it]. => Invoice needed for {i}
[Where can I find|How do I get|I still have not got] the [v:invoice|receipt] for the {i} I [paid|bought] in {month}?
    => {v} for {i} in {month}
The [v:invoice|receipt|bill] for the {i} shows [the wrong|a false|an old] [u:company name|address|tax number|date]. =>
    Wrong {u} on {i} {v}
The [price|cost] on the page was {m} but the [receipt|bill|invoice] [says|lists|states] more for the {i}. =>
    Wrong price for {i}
I [paid|was billed] more for the {i} than the [shown|advertised|listed] price, [please correct the bill|I want the
    difference back]. => Wrong price for {i}
The [v:discount code|coupon|voucher|promo code] was [refused|not accepted|rejected] when I paid for the {i}. => {v}
    not applied to {i}
I [entered|used|put in] a [v:discount code|coupon|voucher|promo code] for the {i} but [the full price was
    charged|nothing came off the total|the bill did not go down]. => {v} not applied to {i}
My {card} [is|was|gets] [v:declined|refused|rejected] when I [try|want] to pay for the {i}. => {card} {v} for {i}
[Payment|My payment|The payment] for the {i} [v:failed|did not go through|was rejected] [three times|again], yet my
    card has enough money. => Payment for {i} {v}
The [money|amount|sum] for the {i} left my {card} but [you say|your mail says] the payment failed. => {i} paid but
    payment failed
Can I pay for the {i} [by|with] [v:bank transfer|american express|paypal|cash|cheque|apple pay|google pay]? => Pay for
    {i} by {v}
Is it possible to pay for the {i} in [v:instalments|monthly parts|two parts]? I can not pay it all at once. => Pay for
    {i} in {v}
The [v:gift card|store credit|gift voucher] from my {role} [does not work|shows no balance|is not taken off] for the
    {i}. => {v} not used for {i}
There is still a balance of {m} on my gift card, [but the checkout ignores it|yet my bank card was charged]. => Gift
    card balance of {m}
How much [money|credit] is left on the gift card from my {role}? I paid for the {i} with it. => Gift card balance
    after {i}
The [v:delivery fee|shipping fee|handling fee|service fee] on the bill for the {i} [is wrong|should be free|was not
    agreed]. => {v} on {i} bill
[What is|Why is there|Please explain] the [v:extra fee|extra charge|late fee|extra cost] of {m} on my bill for the
    {i}. => {v} of {m} for {i}
I was [charged|billed] in [u:dollars|euros|pounds|francs] for the {i} and my bank [took a fee|wants an exchange fee].
    => {i} charged in {u}
You sent me a [v:payment reminder|final notice|reminder] for the {i} that I [have paid|settled] long ago. => {v} for
    paid {i}
The VAT [is missing|is wrong|has not been shown] on the [v:invoice|receipt|bill] for the {p}. => VAT wrong on {p} {v}
I [want|need] to [v:replace|change|update|remove] the {card} [you charge|I pay with|used for payments], it
    [expires|ends] in {month}. => {v} {card} before {month}
My new {card} [is not accepted|can not be saved] as a way to pay for the {i}. => New {card} not accepted for {i}
The [sale|reduced|special] price of the {i} was not [used|taken], I [paid|was charged] the [old|full] price. => Sale
    price not used for {i}
There are [v:two|three|four] [payments|charges|debits] for [one|a single] {i} on my [bank|card] statement. => {v}
    payments for one {i}
I only bought one {i} and your [bill|invoice|receipt] [lists|charges] {n}. => Billed for {n} of {i}
The total [on the receipt|of my bill|on the invoice] for the {p} [does not add up|is not right|makes no sense]. =>
    Wrong total for {p}
The charge of {m} for the {i} is still [v:pending|blocked|on hold] at my bank. => {m} {v} for {i}
My order was cancelled by you but the {m} for the {i} [have not been paid out to my card|are still booked on my card].
    => {m} for {i} not paid back
You [promised|owe] me {m} for the price error on the {i}, [when will it be on my card|but my bank has nothing]? => {m}
    owed for {i}
Do you [offer|give] a [v:student discount|bulk discount|staff discount|price match] on the {i}? => {v} on {i}
My [firm|accountant|employer|tax office] [needs|wants] a copy of the [v:receipt|invoice|bill] for the {p}. => {v} copy
    for {p}
A payment of {m} from {day} [shows up|appears] on my statement under your name, [what was that for|what is it]? =>
    Payment of {m} on {day}
I [sent|made] a bank transfer of {m} for the {i} on {day} and you [say it is not there|have not booked it]. =>
    Transfer of {m} for {i}
Please [split|divide] the bill for the {i} [v:between two cards|over two cards|into two invoices]. => Split {i} bill {v}
The [price|cost] of the {i} [v:went up|changed|doubled] between the basket and the payment. => {i} price {v} at payment
You took {m} [off|out of] my {card} on {day} without [my approval|asking|any order]. => {m} taken on {day}
I never [got|received] a receipt after I paid for the {p} [with my {card}|on {day}]. => No receipt for {p}
Sales tax was [added|charged] on the {i} [although|but] we are [v:a school|a charity|tax free|a church]. => Sales tax
    on {i}
The installment plan for the {i} took {m} [instead of less|this month], that is [too much|not what we agreed]. =>
    Instalment of {m} for {i}
[Someone at your shop|Your system] booked my payment for the {i} to [the wrong|another] customer number. => {i}
    payment booked wrong
How [long|many days] until the overpaid {m} for the {i} [are|is] back on my {card}? => Overpaid {m} for {i}
You [said|agreed|told me] the [v:delivery fee|deposit|price gap|rebate|bonus] for the {i} would be [paid back|credited],
    my bank still [waits|shows no credit]. => {v} for {i} not paid back
[Which|What] [cards|ways to pay|payment methods] do you [take|accept] for the {i}, is {card} [fine|possible]? =>
    {card} for {i}
The [billing|invoice] address for the {i} should be our office in {city}, [send a new one|please issue it again]. =>
    Invoice for {i} to {city}
A [refund|credit] of {m} from the double payment for the {i} has not [reached|been booked to] my {card}. => Credit of
    {m} for {i} missing
My [invoice|bill] for the {i} has {n} items on it, I [paid for|owe] one only. => {n} items on {i} invoice
[Please|Could you] [check|explain] the [v:tax|VAT|rounding|rebate|fee|surcharge|deposit] on my [invoice|bill] for the
    {p}. => {v} on {p} bill
The [amount|sum] of {m} was [booked|withdrawn|collected] before the {i} was [ready|even sent]. => {m} booked for {i}
"""

FRAMES["shipping"] = """
[Where is|What happened to] my [parcel|package|box] with the {i}? It [was due|should have come] on {day}. => Parcel
    with {i} not arrived
My {i} [has not arrived|has not come|is not here|never came], it was [v:due|expected|promised] on {day}. => {i} {v} on
    {day} not arrived
I am still waiting for the {p} [that you shipped|you sent out] [last week|in {month}|ten days ago]. => Still waiting
    for {p}
The tracking for the {i} [has not moved|has not changed|shows the same thing] since {day}. => {i} tracking not moved
    since {day}
[Tracking says|It says] my {i} [is stuck|has been sitting|lies] in {city} [since {day}|for days]. => {i} stuck in {city}
The [v:driver|courier|postman|carrier] left the {i} [u:with a neighbour|in the rain|at the wrong door|on the street|in
    the bin]. => {i} left {u}
It is [marked|shown|listed] as delivered but [there is no|I never got the] {i} [at my door|in my mail box|anywhere].
    => {i} marked delivered but missing
The [courier|driver|delivery man] [never rang|did not ring|drove past], and now the {i} [is back at|went to] the
    [v:depot|post office|warehouse]. => {i} gone to {v}
Please [v:send|deliver|bring] the {i} to [another|my new] address in {city}, it is already on the way. => {v} {i} to
    {city}
The [delivery|shipping] address for my {i} [is wrong|has a mistake], the house is in {city} not in [London|the old
    town]. => Wrong delivery address for {i}
How [long|many days] does [delivery|shipping] of a {i} to {country} take? => Delivery time of {i} to {country}
Do you [ship|deliver|send] a {i} to {country} and [what does it need|how long does it take]? => Ship {i} to {country}
Can you [deliver|bring] the {i} on {day} [v:after work|in the morning|in the evening|at noon] instead? => Deliver {i}
    on {day} {v}
Nobody will be home on {day}. Please [v:leave|drop] the {i} [u:with the neighbour|in the garage|behind the gate|at the
    shop|on the porch]. => {v} {i} {u}
Only [one|half] of the [boxes|parcels] came, the one with the {p} [is missing|did not show up|has not turned up]. =>
    Box with {p} missing
The {i} has been [held|stopped] [at|by] customs in {country} [for a week|since {day}]. => {i} held at customs in
    {country}
The tracking number for the {i} [is not valid|does not work|gives no result|is unknown to the carrier]. => Tracking
    number for {i} not working
I [never got|did not get|need] a tracking [number|link] for the {i}. => Tracking number needed for {i}
The parcel with the {i} was [lost|mislaid] by the [v:carrier|courier|post] [in {city}|on the way]. => {i} lost by {v}
Express delivery was [paid|promised] for the {i}, and it is [now|already] [v:two|three|four|five] days late. => {i}
    {v} days late
My {i} went to {city} [by mistake|for no reason], [I live far away|that is not where I live]. => {i} went to {city}
The [app of the carrier|carrier] says that [someone called|a person named] {name} [signed for|took] my {i}. => {name}
    signed for {i}
The pick up [shop|point] in {city} [does not have|cannot find] my {i}. => {i} not at {city} pick up
The locker in {city} with my {i} [will not open|needs a code I never got]. => {i} locker in {city}
[When|On what day] will the {i} [be delivered|get here|come to my house]? I need it [by|before] {day}. => Delivery day
    of {i}
Is there [a way|any chance] to [v:speed up|hurry|rush] the delivery of the {i}? The party is on {day}. => {v} {i}
    delivery
The [van|truck|courier] was [meant|supposed] to bring the {i} between nine and noon on {day} and [did not show
    up|never came]. => {i} van missed {day}
Please hold the delivery of the {i} until {month}, we are [away|on holiday|travelling]. => Hold {i} delivery until
    {month}
Can the [men|driver|crew] carry the {i} [up to|to] the [v:second floor|third floor|top floor|cellar|back garden]? =>
    Carry {i} to {v}
Your driver was [rude|very unfriendly] and [dumped|threw] the {i} [v:over the fence|on the lawn|at the gate|down the
    stairs]. => Driver threw {i} {v}
The [box|carton|package] with the {p} [came|was delivered] [v:wet|open|empty|crushed]. => {p} box came {v}
My {role} in {city} has been waiting for the {i} that I had sent there [since {day}|for two weeks]. => {i} not arrived
    in {city}
The estimated delivery of my {p} [keeps moving|was put off again|changed again], now it is {month}. => {p} delayed to
    {month}
The {i} [left|was dispatched from] your warehouse on {day} and [there is no news since|has vanished]. => No news of
    {i} since {day}
The shipment with the {p} [was sent back|is going back] to you [for no reason|because no one was home]. => {p}
    shipment sent back
The post office in {city} [keeps|has] my {i} and wants [papers|a fee|my passport]. => {i} at {city} post office
The photo of the delivery shows [a door|a house|a porch] that is not mine, so who has my {i}? => {i} at wrong door
[Has|Did] my {i} [been shipped|leave the warehouse] yet? The status is [v:shipped|in transit|handed over|on its way]
    without a date. => {i} {v} without date
I moved to {city}, and the {p} are on the [truck|road] to my [old|former] flat. => {p} sent to old flat
Which [carrier|courier|delivery firm] [brings|will bring] the {i} to {city}? => Carrier of {i} to {city}
My [front gate|door bell|lift] is broken, so the driver with the {i} must [v:call me|phone first|use the back
    door|knock]. => Driver with {i} must {v}
There has been [no update|no scan|silence] on the parcel with the {p} since it reached {city}. => {p} parcel in {city}
    without update
A delivery note says my {i} was [v:refused|undeliverable|returned to sender], but I was home all day. => {i} marked {v}
Our {i} is [v:a day|a week|two weeks|a month] late and the {role} who should get it is [upset|leaving]. => {i} {v} late
Please give the driver my new phone number so he can call about the {i} on {day}. => New number for {i} driver
Nobody [here|in our house|at the office] has seen the {i} that was [signed for|handed over|dropped off] on {day}. =>
    {i} handed over but not found
[It said|The app of the courier said] out for delivery on {day}, but [no|there was no] {i} came [at all|that day]. =>
    {i} out for delivery on {day}
[How long does|What does] it [usually|normally] take until {p} from your warehouse [get|come] to {country}? => {p} to
    {country}
The {i} was [sent|posted] {n} days ago and {country} is not that far, so when [does it come|will it get here]? => {i}
    to {country} late
The import [papers|duty|form] for the {i} [are|is] missing, so the border office in {country} [holds|keeps] the box.
    => Import papers for {i} missing
The [first|second|last] part of the {i} came on {day}, when is the [rest|other part] due? => Rest of {i} not arrived
The mail man put my {i} [v:behind the hedge|on the roof|under the car|in the hall|on the stairs|by the bins] and it
    was [gone|stolen]. => {i} put {v}
[Can|Could] your driver [wait|come later|come earlier] with the {i}, [the road|our street] in {city} is closed on
    {day}. => {i} driver to {city} on {day}
My {p} [travelled|went] from {city} to {city2} and back [again|], what is going on? => {p} went to {city2} and back
Why is the {i} coming from {country} [by ship|so slowly]? It was sent in {month}. => {i} coming from {country}
[Four|Five|Six] weeks [have passed|gone by] and the {p} [you sent|from your depot] have still not come to {country}.
    => {p} not come to {country}
The [house|flat] number on the label of the {i} is wrong, [tell|call] the [courier|carrier] it is in {city}. => Wrong
    label on {i} to {city}
The courier [wants|asks for] {m} at the door before he hands over the {i}. => Courier wants {m} for {i}
"""

FRAMES["returns"] = """
I [want|would like|wish] to [v:return|send back|give back] the {i}, [it is not what I expected|I do not like it|I
    changed my mind]. => {v} {i}
How [do|can] I [v:return|send back] the {i} [I bought|that came] [in {month}|on {day}]? => {v} {i}
The {w} is [far|much|a bit] too [v:small|tight|short|big|long|loose|wide] [for me|on me]. Can I [swap|exchange|change]
    it? => {w} too {v}
The {wp} are too [v:small|tight|narrow|big|wide|large], I [want|need] [another|a different] size. => {wp} too {v}
Can I [v:swap|exchange|trade] the {w} for [one in|a] {c}? => {v} {w} for {c}
I'd like to [v:swap|exchange] the {wp} for [a pair in|the] [u:small|medium|large|extra large|a bigger size|a smaller
    size]. => {v} {wp} for {u}
You [sent|delivered] a {c} {n0} but I [ordered|asked for|wanted] a {c2} one, [please swap it|what now]. => {c} {n0}
    sent instead of {c2}
I [got|received] [the wrong item|something else], a {i} [instead of|and not] a {i2}. => Wrong item {i}
There [was|is] no return [v:label|form|slip] in the [box|carton|package] with the {i}. => Return {v} for {i} missing
[Please|Could you] [mail|send|email] me a return [v:label|form|slip] for the {p}. => Return {v} for {p}
The return [v:label|code|slip] for the {i} [cannot be read|has expired|does not print|is torn]. => Return {v} for {i}
    not working
I [sent back|returned] the {i} [in {month}|on {day}|two weeks ago] and the refund [has not come|is not here|is still
    missing]. => No refund for returned {i}
[When|How soon] do I get my money back for the {p} I [returned|sent back|posted to you]? => Refund for returned {p}
You only refunded [half|part] of the [price|money] for the {i} I [returned|sent back]. => Partial refund for returned
    {i}
Have you [received|got] the {i} I [v:returned|sent back|posted back] on {day}? => Returned {i} received or not
Can I still return the {i} after [v:30 days|40 days|six weeks|two months|a month]? => Return {i} after {v}
[What is|When is] the last day to [return|bring back] the {i}? => Last day to return {i}
Is it [possible|allowed] to return the {i} without the [v:box|receipt|tags|packaging|label|wrapping]? => Return {i}
    without {v}
I have [opened|used|worn|tried] the {i} [once|only once], may I still [return it|send it back]? => Return of used {i}
The {i} was a [gift|present] from my {role}, I [have one already|do not need it] and want to [return|exchange] it. =>
    Return gift {i}
Who pays the [postage|shipping] when I [return|send back] the {i} from {country}? => Postage to return {i}
Please [arrange|book] a [v:pick up|collection] of the {i} I am [returning|sending back]. => {v} of returned {i}
No one [came|turned up] on {day} to [collect|fetch|pick up] the {i} that I [am returning|want to give back]. => {i}
    return not collected on {day}
May I [bring|take] the {i} back to your [shop|store] in {city}? => Bring {i} back to {city}
My return of the {i} was [v:refused|rejected|denied] because [the seal was open|a tag was gone|it was late]. => Return
    of {i} {v}
The colour of the {i} is [not the same as|different from|nothing like] the [photo|picture], I want to [return it|send
    it back]. => Return {i} over colour
Instead of [money|a refund] I would [take|prefer] [v:store credit|a voucher|shop credit] for the returned {i}. => {v}
    for returned {i}
I [v:returned|sent back] the wrong thing by mistake, the {i} [was mine|should come home to me]. => Wrong {i} {v}
I ordered {n} {p} and [got|received] the wrong [v:size|colour|model|pattern|kind], please exchange them. => Wrong {v}
    of {p}
Please [exchange|swap|change] the {i} for [the same one in|a] {c}, it does not [match|go with] my room. => Exchange
    {i} for {c}
The {i} [does not match|does not suit|is too big for] our [v:kitchen|hall|garden|bedroom|living room|balcony], so it
    will [go|come] back to you. => Return {i} not suiting {v}
We bought two of the {i} and want to [return|give back|send back] one [unused|unopened|unworn]. => Return one {i}
The {w} [runs|comes up|fits] [v:small|large|tight|wide], I need [the next size|one size up or down]. => {w} fits {v}
The [post|courier] has no record of the {p} I [returned|sent back] [from {city}|in {month}]. => Returned {p} not on
    record
What is the address for [sending back|returning] the {p}? I am in {country}. => Address to return {p}
Can I put the {i} and the {i2} in [one|the same] return [parcel|box]? => One return parcel for {i}
It is {n} weeks since [you received|you got back] my {i}, and [no money has been returned|my refund is still not
    paid]. => No refund for {i}
The {i} looks [cheap|smaller|nothing] like [in the picture|the photo], I [want my money back|would like a full
    refund]. => Money back for {i}
[Sorry but|Sadly] my {role} [hates|does not like|will not wear] the {w}, [can it go back|will you take it back]? =>
    Take back {w}
I was sent the {i} of [another|a different] customer, [how do I send it on|please collect it]. => {i} of another
    customer
Is a {i} bought in the [sale|outlet] [returnable|open to exchange]? => Return of sale {i}
I filled in the return form for the {p} but [got|had] no [v:answer|label|reply|confirmation]. => No {v} to {p} return
The {wp} [rub|pinch|slip] [when I walk|at the side], may I [exchange|swap] them for [u:half a size more|a wider
    pair|another model]? => {wp} for {u}
You [refunded|credited] the returned {i} to [my old|a wrong|an expired] card. => Returned {i} refunded to wrong card
Left and right of the {wp} I got are [two sizes|not a pair], [please exchange|I want to swap] them. => Exchange {wp}
    not a pair
[What are the steps|What do I have to do|Tell me how] to [hand back|return|give back] the {i}, it is not [for me|what
    I had in mind]. => Hand back {i}
[Where|To which address] [should I|do I] [v:post|mail|send] the {p} I [do not want|am giving back]? => {v} {p} back
[Will|Would] you [v:take back|accept back] the {i} [without|even without] the [box|wrapping|bag]? => {v} {i}
You [sent|delivered] {p} but I [ordered|had asked for] {p2}, [please take them back|how do we swap]. => {p} delivered
    instead of {p2}
The wrong {i} [came|turned up|was in the box], [mine was|I had chosen] a {c} one. => Wrong {i} not {c}
My {role} [does not want|did not like] the {i} [I gave|I bought], [will you take it back|so it goes back to you]. =>
    Take back {i} from {role}
I [dropped|left] the unwanted {i} at the parcel shop in {city} for you, has it [reached you|come back to you]? =>
    Unwanted {i} from {city}
The [pick up|collection] of the unwanted {i} on {day} [did not happen|failed|was forgotten], it is [packed|ready to go
    back]. => Unwanted {i} not collected on {day}
Is the {i} still [returnable|open for return] if I have [washed|built|cut|plugged in|taken off the wrap of] it? => {i}
    still returnable
The {p} do not [match|suit|go with] our [sofa|walls|floor|table], [I am sending them back|please take them]. => {p} to
    send back
[I decided|We decided] against the {i}, [it is too big|it is too dark|it does not suit us], [when is it fetched|how do
    I get a refund]? => Refund for unwanted {i}
I have [kept|stored] the {i} unopened, can it be [returned|exchanged] for [a|the] {i2}? => Exchange {i} for {i2}
"""

FRAMES["account"] = """
I [forgot|lost|cannot remember] the password for my account [v:after my holiday|since {month}|on my new {device}]. =>
    Forgot password {v}
I [cannot|can not|am unable to] [v:log in|sign in] [on|with] my {device}, [it says wrong password|the password is not
    accepted]. => Cannot {v} on {device}
The password reset [v:mail|link|code] [never comes|has not arrived|does not reach me] at my {ek} email. => Password
    reset {v} for {ek} email
The reset link [is too old|has expired|is dead] [each time|whenever] I open it on my {device}. => Reset link expired
    on {device}
My account [has been|was|is] [v:locked|blocked|suspended|frozen] since {day}, [please open it|how do I get back in].
    => Account {v} since {day}
I am locked out after {n} [wrong|failed] [tries|passwords]. => Locked out after {n} tries
[Please|Kindly] [v:delete|close|remove|erase] my account, I [moved to|live now in] {country}. => {v} account after
    move to {country}
[How|Where] can I [v:close|delete|remove] my profile for good? I [stopped|will stop] shopping here in {month}. => {v}
    profile in {month}
I [want|need] to change my [v:email|user name|login name] from the {ek} one to the {ek2} one. => Change {v} from {ek}
    to {ek2}
My [surname|last name|family name] [is now|has changed to] {surname}, please [update|correct] my profile. => Change
    surname to {surname}
My first name is [spelled|written] wrong in my profile, it [should be|is] {name}. => Change first name to {name}
I [married|got divorced] in {month} and my name in your [records|files|system] must be {surname}. => Change name to
    {surname}
Please change the phone number in my [profile|settings|details], I moved from {city} [and got a new one|in {month}].
    => Change phone number after {city}
How do I [v:add|remove|save|edit] an address in {city} [in|from|to] my address book? => {v} address in {city}
My home address in the profile still says {city}, please [change|update] it to {city2}. => Change profile address to
    {city2}
The [login|sign in|security] code is [sent|texted] to my old [v:phone|number|mobile] and I cannot get in. => Login
    code sent to old {v}
I never [get|receive] the [six digit|login|verification] code [by text|by email] on my {device}. => No login code on
    {device}
How do I turn [v:on|off] the two step [login|sign in|code] on my {device}? => Turn {v} two step login on {device}
I have [two|three] accounts, [v:a work and a private one|an old and a new one|one per email], please [merge|join]
    them. => Merge accounts {v}
I [cannot|am not able to] register [with|using] my {ek} email, it says [the user exists|it is taken|not valid]. =>
    Cannot register {ek} email
[Creating|Opening|Setting up] a new account [fails|stops|does not work] for my {role}, the form rejects the [v:phone
    number|post code|birth date|email]. => New account rejects {v} of {role}
My {role} and I share [one|a] login, [how can we split it|we want two users]. => Split login with {role}
The account of my [late|dead] {role} should be [v:closed|handed to me|shut down], what do you need? => Account of
    {role} {v}
[Wrong|My] date of birth is [stored|saved] in my profile, it should be in {month}. => Birth date in {month}
I [v:signed up|registered] with a typo in my {ek} email and [cannot confirm it|get no mails]. => Typo in {ek} email
I lost [access to|the use of] my {ek} email and [cannot reset|need a way to reset] the password. => Lost access to
    {ek} email
The [confirmation|activation|welcome] link for my new account [never came|does not work] on my {device}. => Activation
    link on {device}
Can I [log in|sign in] with my [v:google|facebook|apple|microsoft|amazon] [user|id] [instead of|rather than] a
    password? => Sign in with {v}
I unlinked [v:google|facebook|apple|microsoft] and now [cannot|am unable to] get into my account. => No login after
    unlinking {v}
I closed my account in {month} by [mistake|accident], can you [reopen|restore|bring back] it? => Reopen account closed
    in {month}
My user name {nick} is [not known|not found|unknown] [at login|when I sign in]. => User name {nick} not found
Can I [change|switch] my user name to {nick}? The [profile|settings] will not let me. => Change user name to {nick}
Please change the [v:language|country|currency|time zone] of my profile, I [live in|come from] {country}. => Change
    profile {v} for {country}
Where [can|do] I [change|edit|update] my [v:profile picture|nickname|title|contact details|password|email address]? I
    only find it on my {device}. => Change {v}
Each time I log in on my {device} I am [thrown out|signed out|logged off] [again|after a minute]. => Signed out on
    {device}
My new password is [rejected|refused|not accepted], it has {n} signs [and a number|and a capital]. => New password
    with {n} signs rejected
The login [asks|wants] a [v:security question|memorable word|customer number|pin] I never set. => Login asks for {v}
I [do not know|forgot] which email I [registered|signed up] with in {month}, [can you look it up|how can I find out]?
    => Email registered in {month}
Our [firm|school|club|office] in {city} needs a [v:second user|new owner|business profile|shared login] for its
    account. => {v} for {city} account
[Please|Can you] transfer my profile to my {role}, [who shops for us now|I am too old for this]. => Transfer profile
    to {role}
My account shows the name {name} and that is not me, [please set my own name|correct my details]. => Account shows
    name {name}
The password works on my {device} but not [elsewhere|when I log in at work]. => Password only works on {device}
I [deleted|removed] my old number on {day} and the login still [wants|asks for] a code from it. => Old number removed
    on {day}
Please take the [v:work|school|old|second] phone number [out of|off] my user details. => Remove {v} phone number
My sign up on {day} [was never finished|got stuck], I have [a password|a user name] but no profile. => Sign up on
    {day} not finished
[Where|How] do I [put|enter|save] my new [v:mobile number|phone number|street|post code] in my [user
    details|profile|settings], I am from {city}. => New {v} in profile for {city}
[I want to|How can I] [v:erase|delete|close] my [user|account|profile], [where is|I cannot see] the button [on my
    {device}|]. => {v} my account on {device}
I would like [to use|to log in with] another email, the {ek} one is [closed|gone|full]. => Change {ek} email for login
Your [system|records] [have|has] my [v:title|gender|initial|age|surname|middle name] wrong, I am {name}. => Wrong {v}
    of {name}
[Setting|Choosing] a new password for {nick} [fails|ends in a loop], the [rules|hints] are odd. => New password for
    {nick}
"""

FRAMES["repair"] = """
The {e} {fe} [after|since] [one week|two days|a month|the first use]. => {e} {fe}
My {e} {fe} [and I only bought it in {month}|although it is new|whatever I try]. => {e} {fe}
[Since|From] {day} [my|our|the] {e} {fe}. [What can I do|How can I fix it|Is there a fix]? => {e} {fe}
I [plugged in|unpacked|switched on] the {e} and [noticed|saw] it {fe}. => {e} {fe}
The {e} from your shop {fe}, is that [covered by|under] [the warranty|guarantee]? => {e} {fe}
[Help|Please help], our {e} {fe}. I [read the manual|tried another socket|reset it] [twice|and nothing changed]. =>
    {e} {fe}
[Can|Could] [someone|a technician] [look at|repair|check] my {e}? It {fe}. => {e} {fe}
My {role} says the {e} {fe} [when it is on|every morning|all night]. => {e} {fe}
The {t} [I got|I bought|you sold me] {ft}. => {t} {ft}
[After|Within] [a week|one month|three days] the {t} {ft}, [poor quality|that should not happen]. => {t} {ft}
[I opened the box and|Out of the box] the {t} {ft}. => {t} {ft}
[Very disappointed|I am upset], my [new |]{t} {ft} [already|after little use]. => {t} {ft}
The {t} {ft}, [can it be repaired|can you mend it|do you repair that]? => {t} {ft}
The {part} of [my|the] {t} {fp} [while using it|after two weeks|on {day}|when I touched it]. => {t} {part} {fp}
The {epart} on the {e} {fp}, [I need a spare|can I get a new part|is there a spare part]? => {e} {epart} {fp}
The {epart} of our {e} {fp} [after a week|on {day}|while it was on|for no reason]. => {e} {epart} {fp}
[One|A] {part} [of|on] our {t} {fp} [last night|on the first day|for no reason]. => {t} {part} {fp}
[Where|How] can I [get|order] a spare {part} for my broken {t}? => Spare {part} for {t}
Two screws for the {h} [are missing|were not in the bag], I cannot [build|assemble|put together] it. => Screws for {h}
    missing
The [manual|instructions|assembly plan] for the {h} [is missing|makes no sense|is in Chinese], I [cannot set it
    up|cannot assemble it]. => Manual for {h} missing
The battery of the {e} [v:dies|runs down|goes flat|drains] [in an hour|after ten minutes|over night]. => {e} battery {v}
The [screen|display] of the {e} is [v:black|cracked|dark|frozen|blurred]. => {e} screen {v}
The [v:motor|engine|fan|switch|plug|cable|heating|pump|timer|sensor] of the {e} [is dead|gave up|has failed|is
    broken]. => {e} {v} broken
How do I [v:reset|clean|open|descale|calibrate|unlock|connect] the {e}? It [does not work right|acts up|stopped
    responding]. => {v} {e}
The {e} shows error code [v:E1|E2|E3|E5|F4|F7|H3] and [stops|does nothing|shuts off]. => {e} error code {v}
A [burning|strange|bad] smell comes from the {e} [when|each time] I switch it on. => Burning smell from {e}
There is [v:smoke|steam|water|oil] [coming out of|escaping from] the {e}. => {v} from {e}
The {p} [v:broke|cracked|came apart|ripped|split|fell apart|tore|rusted|faded] after [one wash|a week|two uses]. =>
    {p} {v}
Some of the {p} are [v:broken|cracked|chipped|faulty|torn|bent|rusty], [can you replace those|I need new ones]. => {p}
    {v}
My [guarantee|warranty] claim for the {e} [has no answer|is open since {month}], when will it be [fixed|repaired]? =>
    Warranty claim for {e}
I sent the {e} in for repair in {month} and [have heard nothing|want to know how it goes]. => {e} repair since {month}
The repaired {e} came home and still {fe}. => Repaired {e} {fe}
How long is the [v:warranty|guarantee] on the {e}? It {fe}. => {v} for {e}
The {e} [makes|gives off] a [v:loud|high|strange|scratching|whistling|knocking|clicking] [noise|sound] [when
    running|all day]. => {v} noise from {e}
The [lid|door|drawer] of the {e} will not [v:close|open|lock|shut|stay up]. => {e} will not {v}
My {t} [started|began] to [v:rust|crack|peel|smell|leak|bend|split|squeak|fade|wobble] [after a few days|in the rain].
    => {t} started to {v}
The {part} [v:bent|snapped|cracked|broke|tore|jammed] the first time I used the {t}. => {t} {part} {v}
The {t} is [unsafe|dangerous], a {part} {fp} and my {role} got [hurt|cut]. => Unsafe {t} {part}
Our {e} worked [fine|well] until {day}, now it {fe}. => {e} {fe}
[Defect|Fault] report: {e} bought in {month} {fe}. => {e} {fe}
I think the {e} has a [v:factory fault|short circuit|loose wire|blown fuse|bad battery|broken motor]. => {v} in {e}
The glass of the {g} is [v:shattered|cracked|scratched|chipped|broken] [at one corner|at the top|all over]. => {g}
    glass {v}
[Glue|Paint|Varnish] comes off the {h} [at the side|in big pieces|everywhere], it is [two months|a week] old. =>
    Coating comes off {h}
My {e} does not [v:spin|blow|print|ring|light up|cool|pump|cut|play|warm up] [any more|at all] [since {day}|]. => {e}
    does not {v}
Why does the {e} [v:stop|beep|blink|shake|leak|hum|click|squeal|smoke|trip] after [five minutes|a few seconds|an
    hour]? => {e} keeps going to {v}
The {e} cannot find the [v:wifi|bluetooth|network|signal], I pressed the pairing button {n} times. => {e} cannot find
    {v}
The [keys|buttons|pedals|wheels|rollers] of the {e} are [v:stuck|loose|sticky|jammed|broken|worn out]. => {e} keys {v}
The {e} has [v:no power|no suction|weak power|no pressure|no heat|no light|no sound|no picture] [any more|since
    {day}|all of a sudden]. => {e} has {v}
The {e} [v:flickers|rattles|leaks|overheats|squeals|smokes|sparks|freezes|drips|clicks|hisses|trips] [no
    matter|whatever] I do. => {e} {v}
The numbers on the {e} are [wrong|far off|nonsense], it [must be|is surely] [faulty|defect|broken]. => {e} numbers wrong
I found a [v:crack|scratch|dent|hole|tear|stain|chip|burn mark] [in|on] the {t} when I unpacked it. => {v} on {t}
The {h} had a [v:long crack|deep scratch|big dent|broken corner|small hole|torn seam|missing screw] [right out of the
    box|as I took it out]. => {h} has {v}
A [v:screw|bolt|peg|nut|bracket|rubber foot] for the {h} is missing, so we cannot [put it together|finish it|build
    it]. => {v} for {h} missing
[Both|All] the {part}s of the {t} [are broken|have come loose|do not hold], [send new ones|how can I mend them]. =>
    {t} {part} broken
[After|Since] the fall of one step the {e} [turns on but|] {fe}, can you [fix it|mend it]? => {e} {fe}
My {e} [makes|produces] only [v:cold air|noise|blank sheets|hot steam|grey pictures|weak light|a beep]. => {e} makes
    only {v}
The {t} [soaks through|drips|lets water in] [at the bottom|at the top|at the seam] [when it rains|after a week]. =>
    {t} lets water in
"""

FRAMES["app"] = """
The app [v:crashes|closes|freezes|hangs|shuts down] [each time|whenever|as soon as] I open the {page} on my {device}.
    => App {v} on {page}
The {page} {fa} [in the app|on your website|on your site] [since {day}|]. => {page} {fa}
On my {device} the {page} {fa}. => {page} {fa} on {device}
Your [website|site|web page] {fa} in {browser}, [other pages are fine|I cleared the cache|I tried twice]. => Website
    {fa} in {browser}
[Since|After] the [last|new] update the app [v:crashes|freezes|is very slow|will not start|shows nothing] on my
    {device}. => App {v} on {device}
I cannot [v:install|download|update|open] the app on my {device}. => Cannot {v} app on {device}
The [v:pictures|photos|videos|reviews|prices] of the {p} do not [load|show|appear] [in the app|on the site]. => {v} of
    {p} do not load
The [v:picture|photo|video|page|description] of the {i} [does not load|is blank|cannot be opened] in {browser}. => {v}
    of {i} does not load
I get error [v:404|500|403|503|400] when I open the {page} [of your site|in the app|on my {device}]. => Error {v} on
    {page}
The search [box|bar|function] on your site [finds nothing|gives no results|shows nonsense] for {p}. => Search finds no
    {p}
When I search for {p} the [app|site] shows me {p2}. => Search for {p} shows {p2}
The [filter|sort order] [for|by] [v:price|colour|size|brand|rating|material] does not work in the {section} section.
    => {v} filter in {section} section
The {section} section [of the app|on your website] {fa}. => {section} section {fa}
The [v:pay|buy|next|back|save|send|search|menu] button [does nothing|does not react|cannot be clicked|is greyed out]
    on the {page}. => {v} button dead on {page}
I [tap|click|press] on [v:pay|buy|next|save|send|share] and [nothing happens|the screen stays the same] on my
    {device}. => {v} does nothing on {device}
The basket [in the app|on the website] [empties itself|loses everything|forgets the {i}] [when I close it|again and
    again]. => Basket loses {i}
I put a {i} in the basket and the [app|site] [shows|says] it is empty. => Basket empty after adding {i}
The app [drains|eats] the battery of my {device} [in an hour|very fast]. => App drains {device} battery
The text [on the|in the] {page} is [v:too small|too big|cut off|upside down|unreadable] on my {device}. => {page} text
    {v}
The dark mode [makes|leaves] the {page} [v:unreadable|all black|too bright]. => Dark mode leaves {page} {v}
Push [notifications|messages] from the app [do not come|come at night|come twice] on my {device}. => Push
    notifications on {device}
I cannot turn off the [v:sounds|pop ups|notifications|alerts|banners] of the app on my {device}. => App {v} on {device}
The [v:barcode|qr code|voice|photo] [u:scanner|search] in the app [crashes|does not work|finds nothing] on my
    {device}. => {v} {u} on {device} broken
The {page} is in [v:Spanish|German|French|Chinese|Dutch] although I chose English on your site. => {page} in {v}
The [link|button] in your news mail to the {p} leads to [an error page|a dead page|page not found]. => Dead link to {p}
The [v:size chart|zoom|video|photo|gallery|rating|price tag] on the {i} page does not [open|load|work]. => {v} on {i}
    page
My {device} says the app is [v:not compatible|out of date|not supported|too large]. => App {v} on {device}
The website [logs|shows] me a [v:blank page|white screen|black screen|spinning wheel] when I click on {section}. =>
    {v} in {section} section
Your site does not [fit|display right|look right] on my {device}, the [v:menu|footer|picture|banner|button] covers
    everything. => {v} covers site on {device}
My [wish list|favourites list] in the app [lost|no longer shows] the {i} I [saved|marked]. => Wish list lost {i}
I cannot [v:upload|attach|post] a photo of my {i} [in the review form|on the website]. => Cannot {v} photo of {i}
My review of the {i} [does not appear|disappears|cannot be sent] on your website. => Review of {i} not shown
[Scrolling|Zooming|Swiping] on the {page} makes the [app|screen|site] [v:jump|flicker|freeze|stutter|crash]. => {page}
    makes app {v}
The chat on your website [opens|pops up] [every minute|all the time] and hides the {page}. => Chat hides {page}
The app is stuck on the [v:logo|start screen|loading wheel|welcome page|black screen] [since {day}|] on my {device}.
    => App stuck on {v}
The cookie [banner|window] [comes back|cannot be closed] on the {page} in {browser}. => Cookie banner on {page}
[Bug|Bug report]: the {page} shows the {i} [v:twice|without a price|with no picture|upside down]. => {page} shows {i}
    {v}
The [clock|counter|timer] of the sale in the {section} section [is frozen|runs backwards|shows minus]. => Sale timer
    in {section} section
The tablet [version|view] of the site has no [v:menu|basket|search box|scroll bar|back button]. => No {v} in tablet view
The app on my {device} keeps saying [v:no internet|connection lost|server error|try again later|time out]. => App says
    {v} on {device}
The website is [v:down|offline|not reachable|very slow] [from {city}|in {city}], [other sites work|my internet is
    fine]. => Website {v} in {city}
The font and the colours on the {page} [changed|look odd] since the update on {day}, is it a bug? => {page} looks odd
    since {day}
Typing in the [v:search box|comment field|address field|coupon field] on my {device} [skips letters|makes the page
    jump]. => Typing in {v} on {device}
[Could|Can] you fix the {page}? The [app|site] {fa} there in {browser}. => {page} {fa} in {browser}
The map in the app shows your store in {city} in the [v:sea|wrong street|wrong town|river]. => Map shows {city} store
    in {v}
The [v:update|download|install] of the app [stops|fails|breaks off] midway on my {device}. => App {v} fails on {device}
The app asks for [an update|a newer version] that [does not exist|I cannot find] for my {device}. => App asks for
    update on {device}
The video of the {i} on your page has no [sound|picture] and [stops|skips]. => Video of {i} page
The calendar on the {page} [lets me pick|shows] days in [the past|{month} only]. => Calendar bug on {page}
"""

FRAMES["orders"] = """
[Please|I want to|I need to] [v:cancel|call off|stop] my order [for|of] the {i} [before it ships|that I placed
    today|from this morning]. => {v} {i} order
I [ordered|bought] the {i} by [mistake|accident] [an hour ago|just now], please [v:cancel|stop|drop] it. => {v} {i}
    order
[I no longer need|I do not need|We found a cheaper] {i}, [please|kindly] [v:cancel|stop|undo] the order [before
    packing|at once]. => {v} {i} order
Is it too late to [v:cancel|change|stop|edit] the order for the {p}? => {v} order for {p}
Can you [v:add|put] a {i} to [the|my] order [I placed|from] [this morning|today|last night]? => {v} {i} to order
I forgot to [order|include] the {p}, please [v:add] them to my [open|current] order. => Add {p} to order
[Please|Can you] [v:remove|take|leave] the {i} [off|out of|from] my order [and keep the rest|but send the {i2}]. =>
    Remove {i} from order
Please change the colour of the {i} in my order [from {c} |]to {c2}. => Change {i} order to {c2}
I [chose|picked|clicked] {c} for the {n0} I just ordered, but I [want|meant|would like] {c2}. => Change {n0} from {c}
    to {c2}
I [picked|chose|clicked] the wrong size for the {w} in my order [today|an hour ago], make it
    [v:small|medium|large|extra large]. => Change {w} order to {v}
Make it {n} {p} [rather than|instead of] {n2} in the order [I just sent|from today]. => {n} {p} instead of {n2}
I [meant|wanted] one {i}, but my order says {n}. Please [lower|correct] the number [before packing|]. => One {i}
    instead of {n}
I pressed [the button|order|buy] twice, [so there are|now I have] two orders for the {i}, please
    [v:delete|drop|cancel] one. => {v} second {i} order
I [never got|did not get|have no] [v:order confirmation|order mail|order number] for the {i} [I bought on {day}|I
    ordered]. => No {v} for {i}
Did my order for the {i} go through? The [page closed|screen went away] [too soon|before the end]. => Order for {i}
    placed or not
What is the [state|status] of my order for the {p}? It [still says|only says] [v:pending|open|processing|in
    review|being prepared]. => {p} order {v}
Why was my order for the {i} [v:cancelled|stopped|rejected|put on hold]? I [did not ask|never asked] for that. => {i}
    order {v}
Please [v:gift wrap|wrap] the {i} [in my order|that I just bought], it is for my {role}. => {v} {i} for {role}
Can you [put|write|add] a [v:gift note|birthday message|greeting card|thank you card] [in|to] the order of the {i}? =>
    {v} with {i} order
Please [print|engrave|stitch] the name {name} on the {i} I [ordered|just bought], I forgot to [fill it in|type it]. =>
    Name {name} on {i}
I [typed|gave] the wrong name for the engraving on the {i}, it [must|should] be {name}. => Engrave {name} on {i}
Can you [v:merge|combine|join] my two orders, the {i} and the {i2}? => {v} {i} and {i2} orders
Please [v:split|divide] my order so that the {i} [comes|is packed] first [and the {i2} later|]. => {v} {i} order
Please do not [pack|process|dispatch] the {i} [before|until] {month}, I [need it later|am moving]. => Hold {i} order
    until {month}
I [would like|want] to [v:swap|replace] the {i} in my [open|unshipped|new] order [for|with] the {i2}. => {v} {i} in
    order for {i2}
Can I still [v:change|edit|alter] the order of the {p} I [placed|made] {n} [minutes|hours] ago? => {v} {p} order
My {role} [ordered|bought] a {i} on my [phone|tablet] without asking, [stop|cancel] that order. => Cancel {i} order by
    {role}
I want [v:another|one more|a second|an extra] {i} in the order [I made|placed] on {day}. => {v} {i} in order
My preorder of the {i}: can I [v:cancel|move|change] it to [another colour|the other model]? => {v} {i} preorder
When I ordered the {i} I [forgot|missed] to [choose|pick] [v:gift paper|the size|the colour|the length|the pattern],
    please [add it|put that in]. => {v} for {i} order
Please leave the price [slip|note] out of the [box|order] with the {i}, it is a present for my {role}. => No price
    slip with {i}
I [placed|made] an order for {n} {p} on {day} and [want to|would like to] [cut|reduce] it to {n2}. => Reduce {p} order
    to {n2}
[Kindly|Please] [withdraw|annul|revoke] my order of the {i} [dated|from] {day}, [I got it elsewhere|my {role} bought
    one]. => Withdraw {i} order from {day}
The order history [shows|lists] the {i} as [v:not ordered|failed|unplaced|not confirmed], should I order [again|once
    more]? => {i} order {v}
I ordered the {c} {n0} [today|just now], please [switch|turn] it into the {c2} one [before you pack|if it has not
    left]. => Switch {n0} from {c} to {c2}
I have just [completed|placed|submitted] an order but [took|chose] the wrong model of the {e}. => Wrong model in {e}
    order
Stop the order, the {p} [were meant|are wrong] for [another|a different] {role}, I [ordered|clicked] in a hurry. =>
    Stop {p} order
Can you [confirm|check] that my order of {n} {p} [is in your system|was accepted|has been placed]? => Confirm order of
    {n} {p}
Please [keep|hold] my order until the {i} [can be packed too|is added], I want it all in one box. => Hold order for {i}
May I [raise|increase] the number of {p} in [today's|my new] order to {n}? => Raise {p} order to {n}
The length in my order of the {i} is wrong, please [cut|make] it {n} metres, [not {n2}|I mistyped]. => {i} order at
    {n} metres
I did not mean to [buy|order] the {p}, [my cat stepped on the key|I only wanted to look], please [take that order
    back|cancel]. => Cancel {p} order
Your mail says one [item|thing] was [dropped|removed] from my order, [is it|why is it] the {i}? => {i} dropped from
    order
Before my order leaves, [drop|take out] the {p} and [put in|add] the {p2} [please|]. => Swap {p} for {p2} in order
My order of the {i} has the [wrong|old] [v:gift message|recipient|pick up time|note], can it be changed [before it
    ships|today]? => Wrong {v} in {i} order
Has my order for the {i} been [v:accepted|placed|confirmed]? I got no [mail|message] from you. => {i} order {v} or not
[Today|This morning] I ordered {n} {p} but [need|want] {n2}, please [alter|adjust] the number before you pack. => {n2}
    {p} and not {n}
Please [undo|scrap|void] what I ordered at [noon|breakfast|midnight], the {i} is [not needed|a mistake]. => Undo {i}
    order
"""

FRAMES["stock"] = """
When will the {i} be [v:back in stock|available again|in stock again|on sale again]? => {i} {v}
[Do you|Will you] [still|ever] [sell|have|carry|stock] the {i} in {c}? => {i} in {c}
Is the {w} [also |][available|sold|made] in [v:small|medium|large|extra large|plus size|kids sizes]? => {w} in {v}
The {p} are [v:sold out|out of stock|not available|gone], when do [new ones|more] come in? => {p} {v}
The page says the {i} is [v:sold out|out of stock|not available], [will you get more|is it coming back] [in {month}|]?
    => {i} {v}
Please [v:tell|notify|email|inform] me [when|as soon as] the {i} [is back|comes in|can be bought again]. => {v} when
    {i} is back
What [are the|is the exact] [v:size|measures|height|width|depth|weight] of the {i}? => {v} of {i}
How [v:heavy|tall|wide|long|deep|big|thick] is the {i}? [I have little space|The page does not say|My room is small].
    => How {v} is {i}
What is the {i} made of, is it [real |pure |][v:leather|wood|wool|cotton|steel|glass|silk|plastic]? => {i} made of {v}
Can the {k} [go in|be put in] the [v:dishwasher|oven|microwave|freezer]? => {k} in {v}
Can the {p} be [v:washed|ironed|bleached|dry cleaned|used outside]? => {p} can be {v}
Does the {e} [come with|include|have] [v:batteries|a charger|a cable|a case|a manual|a plug|a filter]? => {e} comes
    with {v}
Does the {e} run on [v:batteries|mains power|solar power|gas|usb]? => {e} runs on {v}
How many watts does the {e} [use|need|have], and is it [loud|quiet]? => Watts of {e}
Is the {e} [v:suitable for|safe for|good for] [u:babies|children|pets|old people|beginners|outdoor use]? => {e} {v} {u}
From what age is the {i} [suitable|safe|meant] for [children|kids]? => Age for {i}
Does the {t} fit [a|my] {t2}? [I want to buy it|The product text does not say]. => {t} fit for {t2}
Will the {part} of the {t} [fit|match] a {t2} from another [brand|maker]? => {part} of {t} fit {t2}
Does your [shop|store|branch] in {city} have the {i} [on the shelf|in the window|to try]? => {i} in {city} store
[Which|What] store near {city} [sells|stocks|has] the {p}? => {p} near {city}
How many of the {p} [are left|do you have left|are in stock]? We need {n}. => {n} of {p} left
I am looking for a {i} for my {role}, [what do you have|do you sell one|can you suggest one]? => {i} for {role}
[Which|What] {e} [would you|do you] [suggest|recommend|advise] for [v:a small flat|a big family|a beginner|a student|a
    caravan]? => {e} for {v}
What is the difference between the {c} and the {c2} {n0}? => Difference between {c} and {c2} {n0}
Is there a [v:larger|smaller|cheaper|lighter|stronger|quieter|longer] [version|model|kind] of the {i}? => {v} version
    of {i}
Do you [sell|offer|stock] [spare|extra|replacement] [v:covers|bags|filters|blades|bulbs|lids|parts|wheels] for the
    {t}? => {v} for {t}
Has the {i} been [v:discontinued|dropped from the range|taken off sale]? I cannot find it [in the shop|any more]. =>
    {i} {v}
[When|In which month] does the [v:winter|summer|spring|autumn|christmas] [range|collection] of {p} come out? => {v}
    range of {p}
Can you [v:reserve|put aside|keep|hold] a {i} for me in your store [until {day}|in {city}]? => {v} {i} in store
Is the {i} [waterproof|rust proof|heat proof|fire proof|wind proof] enough for [v:winter|camping|the beach|the
    garden|a boat]? => {i} for {v}
Where [is|was] the {i} [made|produced], in {country} or [elsewhere|abroad]? => {i} made in {country}
Is the {i} free of [v:nickel|latex|plastic|milk|nuts|paint|glue|animal products]? I have an allergy. => {i} free of {v}
How [much|many kilos] can the {h} [carry|hold|bear]? => How much {h} can hold
Do you have the {p} in size [v:38|40|42|44|36|46]? The list [stops before that|does not show it]. => {p} in size {v}
I [saw|liked] the {i} in your [catalogue|advert|window], [can I buy it online|is it in your range]? => {i} from
    catalogue
Is the {c} {n0} [darker|lighter|brighter] than [in the photo|it looks], [more like|closer to] {c2}? => Colour of {c}
    {n0}
How [long|many years] does the {e} last [on average|on one charge], before I decide to buy it? => How long {e} lasts
Does the {h} come [v:assembled|in one piece|in parts|with screws|with a cover|in a box]? => {h} comes {v}
Are the {p} sold [v:singly|in pairs|by the dozen|in packs|as a set]? => {p} sold {v}
Is the {e} in the shop [the|this year's] [new|latest] model, and [which|what] [v:colours|sizes|voltages|extras] are
    there? => {v} of {e}
Will there be [more|a new batch] of the {i} before [v:Christmas|Easter|summer|Halloween|winter]? => More of {i} before
    {v}
Could you order in {n} {p} for our [v:school|hotel|office|club|church]? Your stock [shows fewer|is too low]. => {n}
    {p} for {v}
Does the {i} have [v:pockets|handles|wheels|a lid|a lock|a lining|a hood|drawers]? I [cannot tell|can not see it] from
    the picture. => {i} with {v}
I need {p} for [v:wide feet|big hands|a wedding|left handed people|a child of six|cold days], do you stock [any|such]?
    => {p} for {v}
The {i} is [always|never] in stock in {c}, is it [worth waiting|coming]? => {i} in {c}
[Let me know|Write to me|Tell me] [as soon as|when] [new|the] {p} [are in your shop|arrive in the shop|come back]. =>
    {p} come back when
[Do|Does] [any of your shops|your shop|a branch] in {city} [have|keep|show] the {i}? => {i} in {city} shop
[There is|I see] no {i} [left|any more] in {city}, which [other store|branch] has [some|one]? => {i} none left in {city}
Do you still [make|sell|carry] the {i}? It [has been out of stock|was not in the range] for [ages|weeks|months]. =>
    {i} out of stock
How [v:loud|fast|strong|bright|hot|hard|quiet|sharp|warm] is the {i}, do you have [numbers|any details]? => How {v} is
    {i}
Is the {i} [v:filled|stuffed|padded|lined|coated|painted|made] with
    [u:foam|wool|wood|oil|wax|nylon|felt|straw|rubber]? => {i} {v} with {u}
Will the {t} [go|fit] [v:under|on|into|behind|over|next to] a [u:narrow bed|small car|round table|low shelf|baby
    cot|single bed|big sink]? => {t} {v} {u}
Can the {i} be used [v:in the rain|in the bath|on ice|in winter|by a child|on a boat|on gas]? [The text says nothing|I
    want to know first]. => {i} used {v}
Are there [v:other colours|other patterns|bigger sets|matching chairs|matching lids|longer ones] of the {i} [in your
    range|on sale]? => {v} of {i}
What [v:colours|sizes|lengths|patterns|shapes|flavours] [does|do] the {i} [come in|exist in]? => {v} of {i}
Do you [have|sell] [anything|something] like a {i} for [v:left handed people|tall people|allergic people|small hands|a
    narrow hall|cold nights]? => {i} for {v}
Is the {i} [narrow|small|light|flat] enough for a [v:bicycle|small flat|back seat|hand bag|toddler|window
    sill|wardrobe]? => {i} for {v}
The {i} is [shown|listed] [as|with] few pieces, [how many|what number] do you [really have|still hold] in {city}? =>
    Pieces of {i} in {city}
"""

FRAMES["subscription"] = """
[I want|I would like|Please let me] [v:cancel|end|stop|terminate] my {box} [subscription|box] [at the end of
    {month}|in {month}]. => {v} {box} subscription in {month}
[Please|Can you] [v:pause|hold|suspend] my [monthly |]{box} box [until|till] {month}. => {v} {box} box until {month}
[How do I|I want to] [v:skip|leave out] the {box} box in {month}, we [are away|have enough left]. => {v} {box} box in
    {month}
I [want|would like] to [v:upgrade|downgrade|switch|move|change] from the {plan} to the {plan2} [plan|membership]. =>
    {v} from {plan} to {plan2} plan
What is the difference between the {plan} and the {plan2} [plan|membership]? => {plan} or {plan2} plan
My {plan} [plan|membership] [v:renewed|extended|prolonged] itself in {month} [although I cancelled it|without asking
    me]. => {plan} plan {v} in {month}
[Please|How do I] turn off [the |][automatic|auto] [v:renewal] of my {plan} [plan|membership]. => Turn off {plan} plan
    renewal
[When|On which day] does my {plan} [plan|membership|subscription] [v:end|expire|run out|renew]? => {plan} plan {v} date
Can I get the {box} box every [v:two|three|four|six|eight] weeks [instead|from now on]? => {box} box every {v} weeks
The free trial of the {plan} [plan|membership] ends [soon|on {day}], [how do I stop it|I do not want to go on]. =>
    Stop {plan} trial
I [signed up for|started] the {plan} trial and it says [expired|over] after {n} days. => {plan} trial over after {n}
    days
My {plan} membership [says|shows] [v:expired|inactive|cancelled|ended] but I [renewed|extended] it [in {month}|]. =>
    {plan} membership shows {v}
I would like to [v:restart|resume|reactivate|start again with] my {box} [subscription|box] [from|in] {month}. => {v}
    {box} box in {month}
Can I [v:add|include] my {role} [to|in] my {plan} [plan|membership]? => {v} {role} to {plan} plan
[Please|I want to] [take|remove] my {role} [off|from] our {plan} [plan|membership]. => Remove {role} from {plan} plan
I want to give my {role} a {box} subscription [for a year|for {n} months] as a gift. => Gift {box} subscription for
    {role}
[Please swap|Can I swap|I want to change] the {box} box [for|to] the {box2} box [next time|from {month}]. => Swap
    {box} box for {box2}
Which [perks|benefits|extras] [come with|are part of] the {plan} [membership|plan]? => Perks of {plan} plan
My member [points|stars|rewards] from {month} [are missing|were not added] on my {plan} membership. => Member points
    from {month}
How many [points|rewards] do I get as a {plan} member? => Points for {plan} member
Is there a [cheaper|reduced] [plan|membership] for [v:students|retired
    people|families|nurses|teachers|soldiers|couples]? => Cheaper plan for {v}
Am I bound to the {plan} [plan|membership] for [v:a year|six months|two years], or can I [leave|quit] sooner? =>
    {plan} plan bound for {v}
I [cancelled|ended|quit] my {box} [subscription|plan] in {month}, but it [is still active|goes on|still runs]. =>
    {box} subscription still active
I cannot find [where|how] to [v:cancel|pause|resume|renew|change] my {plan} [plan|membership]. => {v} {plan} plan
What [happens|will happen] to my {plan} [perks|rewards] if I [v:pause|cancel|downgrade|quit] the membership? => {plan}
    perks after I {v}
The {box} box of {month} had [nothing new|the same kind twice|only old things], please [vary|change] my [plan|picks].
    => Vary {box} box of {month}
Please make the {box} box [v:smaller|bigger|vegan|sugar free|for two people|for four people] [from {month}|next
    month]. => {box} box {v}
Does the {plan} [plan|membership] [include|cover] [v:free delivery|early access|member prices|free samples|the
    magazine]? => {plan} plan with {v}
I want to [join|become] a {plan} member, [how do I sign up|what are the terms]? => Join as {plan} member
When [does|will] the next {box} box of my subscription [renew|be due], and can I [v:move|delay|skip] it to {month}? =>
    {v} {box} box to {month}
I was [moved|switched] to the {plan} plan [without asking|by itself], put me [back on|back to] {plan2}. => Back to
    {plan2} plan
I have two {box} subscriptions running, [please end one|keep only one]. => End one {box} subscription
Is [the|my] {plan} [membership|plan] [valid|good] in {country} [too|as well], where I will live? => {plan} plan in
    {country}
We will be [away|abroad] from {month}, please [freeze|stop] the {box} [deliveries|plan] until we are back. => Freeze
    {box} plan from {month}
The member [card|number] for my {plan} club [never came|is missing] after I joined in {month}. => {plan} member card
    missing
Please change [my|our] {box} plan to [v:monthly|weekly|yearly|quarterly] from {month}. => {box} plan {v} from {month}
I would [rather|like to] pay for the {plan} plan [v:once a year|each month|every quarter], can the plan be changed? =>
    {plan} plan paid {v}
I missed the [deadline|last day] to [v:cancel|end|skip] the {box} subscription [for {month}|], can you still do it? =>
    Late to {v} {box} subscription
The {role} discount on our {plan} plan [ended|is gone] with the renewal in {month}. => {plan} plan discount gone in
    {month}
Does the {plan} [club|membership] [have|need] a [v:notice period|minimum term|waiting time|sign up fee]? => {plan}
    membership {v}
After {n} years I [want|wish] to leave your {plan} club [for good|], please confirm the [end|cancellation]. => Leave
    {plan} club after {n} years
My {box} plan [says|shows] [v:paused|on hold|stopped] since {month} but I [never did that|want it running]. => {box}
    plan {v} since {month}
I bought the {plan} plan and my [status|page] [still says|remains] {plan2}, please [activate|update] it. => {plan}
    plan still shows {plan2}
Do you [have|offer] a [v:weekly|monthly|yearly|gluten free|decaf|organic] {box} subscription? => {v} {box} subscription
Could we get {n} {box} boxes a [month|quarter] on the {plan} plan? => {n} {box} boxes on {plan} plan
"""

FRAMES["security"] = """
I [got|received] a [suspicious|strange|odd|weird] {ch} that says I won a {prize}. [Is it from you|Is that real]? =>
    Suspicious {ch} about won {prize}
A {ch} in your name [asks|wants me] to [give|confirm|enter|send] my {secret}. [Is that a scam|Is this genuine]? =>
    {ch} asks for {secret}
[Someone|A man|A woman] [called|phoned|rang] and said [he|she] was from your shop, then [asked for|wanted] my
    {secret}. => Caller asked for {secret}
[Somebody|Someone|A stranger] [signed in|logged in] to my account from {country} [on {day}|last night], [it was not
    me|I was asleep]. => Unknown sign in from {country}
There was a [login|sign in] from [a|an unknown] {device} in {city} that [is not mine|I do not own]. => Unknown login
    from {city}
I think my account [was|has been] [v:hacked|hijacked|taken over|broken into], there is a {i} I never [bought|ordered].
    => Account {v} for {i}
[A hacker|A thief|Somebody] [ordered|bought] a {i} in my name and [changed my email|locked me out]. => {i} bought by
    hacker
A [stranger|criminal|fraudster] has sent a {i} to {city} using my [account|name]. => Fraud with {i} to {city}
[Please send me|I ask for|I want] a [v:copy|list|report|download] of all [personal |]data [you hold|you store|you
    keep] [about me|since {month}]. => {v} of personal data
Under the [privacy|data protection] law I [ask|want] you to [v:erase|wipe|delete] my [u:purchase history|chat
    history|search history|personal data|location data|call records]. => {v} my {u}
[What|Which] [personal|private] data do you [share|trade|pass on] with {firms}? => Data shared with {firms}
Please stop [sharing|selling|passing] my [v:email|phone number|address|name|birth date] [to|with] {firms}, I do not
    [agree|consent]. => {v} shared with {firms}
I [never gave|take back|withdraw] my consent to [give|pass] my [v:details|data|number|address] to {firms}. => Consent
    for {firms}
Since I gave you my [number|email] I get [spam|adverts|junk calls] from {firms}. => Spam from {firms}
Please [v:stop|end] the [adverts|ads|marketing mails] about {p}, you track what I look at. => {v} tracking adverts
    about {p}
I found a [fake|false|copied] [v:website|web shop|page|profile|app] that [uses your logo|looks like yours] and sells
    {p}. => Fake {v} selling {p}
Is the [v:website|shop|advert|profile] with cheap {p} [on facebook|on instagram|from {country}] really yours or a
    [scam|fraud]? => Fake {v} with cheap {p}
I [clicked|tapped] on a link in a [phishing|fake|false] {ch} and [typed in|gave away|entered] my {secret}. => Gave
    {secret} in fake {ch}
I gave my {secret} to a [person|caller|man] who [posed|acted] as your [clerk|agent|support]. => Gave {secret} to false
    clerk
I got a [v:warning|notice|alert] about a new device in {city}, and I [have never been there|was at home]. => {v} about
    device in {city}
I get login codes [by text|by email] that I [did not ask for|never asked for] since {day}, is someone [breaking
    in|trying my account]? => Unasked login codes since {day}
Has there been a [v:leak|breach|data theft|hack] at your firm in {month}? My details [are sold|turned up] [online|on
    the net]. => {v} in {month}
[I read|The news says|I heard] that customer data was [stolen|leaked] in {month}. Am I [affected|part of it]? => Data
    stolen in {month}
My [v:address|phone number|full name|photo|email] [can be seen|is visible] [by everyone|in public] on my review of the
    {i}. => {v} visible on {i} review
Your letter about the {i} [shows|has] the [name|address] of [another|a different] customer, that is a privacy
    [breach|problem]. => Other customer data on {i} letter
I see the [orders|data|address] of a stranger called {name} [when I sign in|in my account], that cannot be safe. =>
    Data of stranger {name}
An address in {city} that I [do not know|never entered] [is|was] saved in my account, was I hacked? => Unknown address
    in {city}
A [fraudster|scammer|crook] [pretends to be|uses the name of] your {city} store and [sells|offers] a {prize}. => Scam
    with {city} store name
A {ch} [threatens|warns] that my account will be closed unless I [pay|send] {m}. [Phishing|Fraud]? => Threat {ch}
    wants {m}
The sender of a {ch} wants [v:bitcoin|gift card codes|a wire transfer|remote control|a photo of my passport], [he says
    he is you|in your name]. => {ch} wants {v}
A {ch} with [an attachment|a file] came from an address in {country}, [does it hold a virus|is it safe to open]? =>
    Unsafe {ch} from {country}
Who [at your company|in your team] [can see|has seen] my [v:purchases|chats|address|card|photos|birth date], I want it
    [private|hidden]. => Who can see my {v}
How [long|many years] do you [keep|store] my [v:address|orders|recorded calls|payment data|chats|photos] [by law|after
    I leave]? => How long you keep {v}
I [object|say no] to [v:profiling|tracking|cookies|cold calls|data sharing|ad targeting] [by {firms}|with {firms}]. =>
    No to {v} by {firms}
Where is your [data protection officer|privacy officer|privacy team] in {country}, I want to [complain|report a leak]?
    => Privacy officer in {country}
My [stolen|lost] {device} is [still signed in|logged in], a [thief|stranger] could [shop|see my data]. => Stolen
    {device} still signed in
My {role} [uses|spied on] my account without [permission|my consent], [how do I keep them out|make it secure]. =>
    {role} uses account without permission
Somebody [opened|created] an account in the name of my {role} with [false|stolen] data. => False account of {role}
I [did not sign up|never subscribed] for your [v:newsletter|text messages|adverts|calls], who gave you my number in
    {month}? => {v} never asked for
Your [chat helper|call centre] told a stranger my [v:address|order|phone number|birth date], that [breaks|violates]
    privacy. => {v} told to stranger
I [spotted|noticed] a security hole on your [v:login page|reset page|review page|server|chat], [anyone can see data of
    others|who do I report it to]? => Security hole on {v}
My {ek} email was [found|listed] in a [leak|breach] and your shop is [named|the source]. => {ek} email in leak
A text about [a missed|an unpaid] [v:parcel|toll|bill|customs fee|tax] for a {i} has a [strange|dodgy] link, is it
    [phishing|fake]? => Dodgy {v} text about {i}
Is it [safe|normal] that your agent [asks|asked] me for my {secret} in a {ch}? I smell a [trick|scam]. => Agent asked
    for {secret}
My antivirus [blocks|warns about] [a mail|a {ch}] from your shop with a {prize} inside, [is it malware|is it
    dangerous]? => Antivirus warns about {prize}
"""

# a second sentence, per team and for all
EXTRA = {
    "billing": """
Please correct the bill. / I want my money back for this charge. / My bank could not explain it.
I attached my bank statement.
Please refund the extra amount to my card. / That is not the price we agreed on. / The payment was made online.
I checked my statement twice. / I need this for my taxes. / The invoice came by email.
I will ask my bank to stop the payment.
Please check your books. / I always pay on time. / The receipt is in front of me. / This mistake cost me money.
My accountant is waiting. / The sum was taken yesterday.
Please look at the payment. / My bank says it is your mistake. / When do I get the money?
I only want to pay what I owe.
""",
    "shipping": """
The carrier does not answer. / Nobody left a note. / I stayed home all day. / The tracking page is no help.
I need it before my trip. / Please ask the courier where it is. / I gave the right address.
My neighbours have not seen it.
It was shipped last week. / The delivery window has passed. / I took a day off work for it. / No one rang the bell.
Please find my parcel. / The depot is closed on weekends. / The driver had my phone number.
The post sent me no message. / How much longer will it take? / The van drove past my house. / Please tell the driver.
It should only take three days. / The post office knows nothing. / My street is easy to find.
I am waiting at the window.
""",
    "returns": """
It is unused and in its box. / The tags are still on. / I kept the receipt. / Please send me a label.
I would like a refund. / It is still sealed. / I have packed it up again. / I want my money back please.
I have only tried it on once. / Please let me know the steps. / I can drop it at the post office.
I just do not want to keep it.
The size chart was no help. / An exchange would be fine too.
How does a return work? / I have not used it. / Where do I post it to? / It does not suit me. / Please pick it up.
I do not want it any more. / It goes back to you tomorrow. / I would rather have a different one.
Is that within the return time?
Please pay the money back. / I will print the label myself.
""",
    "account": """
I tried it many times. / Please help me get back in. / I have been registered for years. / I checked the junk folder.
The profile page does not let me. / I can prove who I am. / My details are out of date.
The login form is the same as ever.
I wrote the password down. / I need to sign in today. / The settings have no such field.
Please confirm the change by mail.
My email is still the same. / I never had trouble with my login before. / Do you need my user name?
""",
    "repair": """
I followed the manual. / I changed the batteries. / It is only a few weeks old. / It worked fine at first.
Please repair or replace it. / I still have warranty. / I did not drop it. / I tried another plug.
I can send a photo of the damage. / Is there a spare part? / It was never used outside. / Do you have a repair service?
I would like to have it fixed. / That is a clear defect. / I cleaned it as advised.
It is broken. / The fault is always the same. / I think a part inside is loose. / My husband could not mend it.
It makes no difference which plug I use. / What is wrong with it? / It was not cheap. / Please send a spare part.
""",
    "app": """
I have the latest version. / I restarted my phone. / I cleared the cache. / I installed the app again.
My internet is fine.
It started with the update. / I tried another browser too. / Please fix this bug. / I can send a screenshot.
It happens every time. / Other apps work well. / The screen just stays there. / Reloading the page does not help.
""",
    "orders": """
It has not shipped yet. / I placed it only minutes ago. / The order is still open. / Please confirm by mail.
I hope it is not packed yet. / I clicked too fast. / I could not change it myself.
There is no edit button on the order.
I ordered in a hurry. / Everything else in the order stays the same. / Please do it before it goes out.
Sorry for the trouble.
""",
    "stock": """
I would buy it at once. / The product page does not say. / I want to buy one for my kitchen.
I could not find it in the shop.
It would be a gift. / I want to be sure before I buy. / I have looked everywhere. / Please tell me before I order.
There is nothing about it in the description. / I saw it in your window. / I am happy to wait for it.
Which size do you have? / I would like to know more about it. / Do you sell it in your shops? / What can you recommend?
Does anyone in your store know? / Maybe you have something like it. / I want to order it this week.
Is there more to come?
It must fit in our room. / My son would love one. / I need it for a party. / Tell me a bit more about the product.
""",
    "subscription": """
I am a member since last year. / I do not use it enough. / The plan is too much for me now.
I did not want another year.
My box comes every month. / I could not find it in my plan settings. / Please confirm the date it ends.
I really like the club. / The renewal is close. / I want to keep my member perks. / We have too much of it at home.
""",
    "security": """
I am very worried. / I did not click on it. / It looks like phishing to me. / Please look into it at once.
I have changed my password. / I reported it to the police. / It was not me. / I take my privacy seriously.
Please secure my account. / The sender looks fake. / I am afraid of fraud. / I deleted the message. / I do not trust it.
I never gave permission for this.
""",
}
EXTRA = {t: [s.strip() for s in re.split(r"[/\n]", x) if s.strip()] for t, x in EXTRA.items()}

ANY_EXTRA = [s.strip() for s in re.split(r"[/\n]", """
I have been a customer for years. / This is the second time I write. / Nobody answered my last message.
I am not happy.
I have waited long enough. / This is urgent. / It is not the first time. / I am quite upset.
My wife asked me to write.
I hope you can help. / I could not reach anyone by phone. / I am old and not good with this. / What should I do?
What a mess. / I like your shop otherwise. / I find this really annoying. / It ruins my week. / I am at my wits end.
""") if s.strip()]
OPENERS = [
    "Hello,", "Hi,", "Hi there,", "Good morning,", "Good evening,", "Dear team,", "Hey,", "Hello team,", "Dear sirs,",
    "Good day,", "Excuse me,", "Hi folks,", "Hello there,", "To whom it may concern,",
]
CLOSERS = ["Thanks.", "Thank you.", "Please help.", "Please advise.", "Many thanks.", "Best wishes.", "Kind regards.",
           "Please reply soon.", "Thanks in advance.", "Cheers.", "Let me know.", "Please get back to me.", "Regards."]
EMAIL_KINDS = words("work school private old new university family second main office")
NICKS = words("sunny tiger rabbit falcon daisy pepper captain cookie panda river shadow maple rocket lucky breeze")

STOP = set("""
a an and any are as at be been but by can cannot could did do does for from get got had has have he her his how i if in
is it its me my no not of off on or our out please she so some still that the their them then there these they this to
too was we were what when where which who why will with would you your one now just after before about again into than
""".split())

# ---------------------------------------------------------------- drawing


class Draw:
    def __init__(self, rng):
        self.rng = rng
        self.decks = {}

    def pick(self, key, pool):
        """Deal from a shuffled deck, so that every entry of a list comes up equally often."""
        deck = self.decks.get(key)
        if not deck:
            deck = list(pool)
            self.rng.shuffle(deck)
            self.decks[key] = deck
        return deck.pop()

    def noun(self, key, pool, adjective=0.6):
        noun = self.pick(key, pool)
        if self.rng.random() < adjective:
            if noun in HARD_THINGS and self.rng.random() < 0.5:
                adj = self.pick("hard", HARD)
            elif noun in SOFT_THINGS and self.rng.random() < 0.5:
                adj = self.pick("soft", SOFT)
            else:
                adj = self.pick("adj", ADJ)
            if adj not in noun.split():
                return adj + " " + noun
        return noun

    def other(self, key, pool, used):
        while True:
            got = self.pick(key, pool)
            if got not in used:
                return got

    def value(self, slot, have):
        rng, used = self.rng, set(have.values())
        if slot in ("i", "i2"):
            return self.noun("items", THINGS + ELECTRIC)
        if slot in ("t", "t2"):
            return self.noun("things", THINGS)
        if slot == "h":
            return self.noun("hard things", sorted(HARD_THINGS - set(PLURAL)))
        if slot == "g":
            return self.noun("glass things", GLASS_THINGS)
        if slot == "k":
            return self.noun("kitchen things", KITCHEN_THINGS)
        if slot == "e":
            return self.noun("electric", ELECTRIC, 0.5)
        if slot in ("p", "p2"):
            return self.noun("plural", PLURAL, 0.5)
        if slot == "w":
            return self.noun("wear", WEAR)
        if slot == "wp":
            return self.noun("wearp", WEARP)
        if slot == "n0":
            return self.pick("items", THINGS + ELECTRIC)
        if slot == "m":
            if rng.random() < 0.5:
                amount = rng.choice([5, 7, 9, 12, 15, 18, 20, 25, 29, 30, 35, 40, 45, 50, 60, 75, 80, 99, 120])
                return "%d %s" % (amount, self.pick("money", MONEY))
            return "%s %s" % (rng.choice(NUMBERS + words("fifteen twenty thirty forty fifty sixty ninety")),
                              self.pick("money", MONEY))
        pools = {
            "c": COLOURS, "c2": COLOURS, "city": CITIES, "city2": CITIES, "country": COUNTRIES, "day": DAYS,
            "month": MONTHS, "n": NUMBERS, "n2": NUMBERS, "card": CARDS, "name": NAMES, "surname": SURNAMES,
            "device": DEVICES, "browser": BROWSERS, "page": PAGES, "section": SECTIONS, "box": BOXES, "box2": BOXES,
            "plan": PLANS, "plan2": PLANS, "part": PARTS, "epart": ELECTRIC_PARTS, "role": ROLES, "prize": PRIZES,
            "ch": CHANNELS, "secret": SECRETS, "firms": FIRMS, "fe": ELECTRIC_FAULTS, "ft": THING_FAULTS,
            "fp": PART_FAULTS, "fa": APP_FAULTS, "ek": EMAIL_KINDS, "ek2": EMAIL_KINDS, "nick": NICKS,
        }
        return self.other(slot.rstrip("2"), pools[slot], used)

    def fill(self, text, have):
        def slot(found):
            name = found.group(1)
            if name not in have:
                have[name] = self.value(name, have)
            return have[name]
        return re.sub(r"\{(\w+)\}", slot, text)

    def choose(self, text, have):
        def one(found):
            body = found.group(1)
            named = re.match(r"([uv]):", body)
            got = self.rng.choice(body[2:].split("|") if named else body.split("|"))
            if named:
                have[named.group(1)] = got
            return got
        return re.sub(r"\[([^\]]*)\]", one, text)


def tidy(text):
    text = re.sub(r"\s+", " ", text).strip()
    text = re.sub(r" ([.,?!])", r"\1", text)
    text = re.sub(r"\b([Aa]) (?=[aeiou])(?!us|uni|one|eu)", r"\1n ", text)
    return re.sub(r"\b([Aa])n (?=uni|use|one|eu)", r"\1 ", text)


DROP_IN_SUBJECT = {"a", "an", "the"}


def subject_of(text):
    kept = [w for w in tidy(text).split() if w.lower() not in DROP_IN_SUBJECT]
    text = " ".join(kept)
    return text[0].upper() + text[1:]


def typo(rng, ticket, subject):
    """Swap two letters inside one longer word that the subject does not use."""
    kept = set(subject.lower().split())
    parts = ticket.split(" ")
    may = [k for k, w in enumerate(parts) if w.isalpha() and w.islower() and len(w) > 5 and w not in kept]
    if may:
        k = rng.choice(may)
        at = rng.randrange(1, len(parts[k]) - 2)
        w = parts[k]
        parts[k] = w[:at] + w[at + 1] + w[at] + w[at + 2:]
    return " ".join(parts)


def make_one(draw, team, frame):
    rng = draw.rng
    left, right = [x.strip() for x in frame.split("=>")]
    have = {}
    text = draw.fill(draw.choose(left, have), have)
    subject = subject_of(draw.fill(draw.fill(right, have), have))
    text = text[0].upper() + text[1:]
    opened = rng.random() < 0.22
    if opened:
        text = rng.choice(OPENERS) + " " + (text if text.startswith(("I ", "I'")) else text[0].lower() + text[1:])
    roll = rng.random()
    if roll < 0.38:
        text += " " + draw.pick("extra " + team, EXTRA[team])
    elif roll < 0.52:
        text += " " + draw.pick("any extra", ANY_EXTRA)
    elif roll < 0.60 and not opened:
        text = draw.pick("any extra", [x for x in ANY_EXTRA if x[-1] == "."]) + " " + text[0].upper() + text[1:]
    if rng.random() < 0.16:
        text += " " + rng.choice(CLOSERS)
    text = tidy(text)
    roll = rng.random()
    if roll < 0.18:
        text = text.lower()
    if rng.random() < 0.10:
        text = text.rstrip(".?!")
    if rng.random() < 0.05:
        text = re.sub(r"[.,]", "", text)
    if rng.random() < 0.06:
        text = typo(rng, text, subject)
    return text, subject


# ---------------------------------------------------------------- rows


def bag(text):
    return frozenset(re.findall(r"[a-z0-9]+", text.lower()))


def jaccard(a, b):
    return len(a & b) / max(1, len(a | b))


def runs(text, n=6):
    seq = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(seq[k:k + n]) for k in range(len(seq) - n + 1)}


def read(path):
    rows = []
    for line in path.read_text(encoding="ascii").splitlines():
        messages = json.loads(line)
        answer = json.loads(messages[1]["content"])
        rows.append((messages[0]["content"], answer["team"], answer["subject"]))
    return rows


def line_of(ticket, team, subject):
    return json.dumps([
        {"role": "user", "content": ticket},
        {"role": "assistant", "content": json.dumps({"team": team, "subject": subject})},
    ])


def frames_of(team):
    """One frame a line; an indented line goes on with the line before."""
    return re.sub(r"\n +", " ", FRAMES[team].strip()).split("\n")


def make():
    rng = random.Random(SEED)
    draw = Draw(rng)
    golden = read(GOLDEN)
    golden_bags = [bag(t) for t, _, _ in golden]
    golden_runs = set().union(*(runs(t) for t, _, _ in golden))
    golden_subjects = {s.lower() for _, _, s in golden}
    rows, bags, subjects, dropped = [], [], set(), Counter()

    def near_golden(ticket, words_):
        return any(jaccard(words_, g) > 0.45 for g in golden_bags) or bool(runs(ticket) & golden_runs)

    for ticket, team, subject in read(HAND) + read(HAND_2):
        words_ = bag(ticket)
        if near_golden(ticket, words_) or subject.lower() in golden_subjects:
            dropped["hand near golden"] += 1
            continue
        if any(jaccard(words_, b) > 0.8 for b in bags) or subject.lower() in subjects:
            dropped["hand near repeat"] += 1
            continue
        rows.append((ticket, team, subject))
        bags.append(words_)
        subjects.add(subject.lower())

    for team in TEAMS:
        frames = frames_of(team)
        count, tries = sum(1 for r in rows if r[1] == team), 0
        while count < PER_TEAM:
            tries += 1
            if tries > 40 * PER_TEAM:
                raise SystemExit("team %s: cannot find enough rows" % team)
            ticket, subject = make_one(draw, team, draw.pick("frames " + team, frames))
            size, length = len(ticket.split()), len(subject.split())
            words_ = bag(ticket)
            if not MIN_WORDS <= size <= MAX_WORDS or not 3 <= length <= 7:
                dropped["length"] += 1
            elif subject.lower() in subjects or subject.lower() in golden_subjects:
                dropped["subject seen"] += 1
            elif any(jaccard(words_, b) > 0.8 for b in bags):
                dropped["near repeat"] += 1
            elif near_golden(ticket, words_):
                dropped["near golden"] += 1
            else:
                rows.append((ticket, team, subject))
                bags.append(words_)
                subjects.add(subject.lower())
                count += 1
    rng.shuffle(rows)
    text = "".join(line_of(*row) + "\n" for row in rows)
    with open(OUT, "w", encoding="ascii", newline="\n") as out:
        out.write(text)
    print("%d rows written to %s" % (len(rows), OUT.name))
    print("dropped: " + ", ".join("%s %d" % x for x in sorted(dropped.items())))


# ---------------------------------------------------------------- check


def content(text):
    return {w for w in re.findall(r"[a-z0-9]+", text.lower()) if len(w) > 2 and w not in STOP}


def nearest(train, probe):
    n = len(train)
    seen = Counter(w for t, _, _ in train for w in bag(t))
    idf = {w: math.log((n + 1) / (c + 0.5)) for w, c in seen.items()}

    def vector(text):
        v = {w: c * idf.get(w, 0.0) for w, c in Counter(re.findall(r"[a-z0-9]+", text.lower())).items()}
        size = math.sqrt(sum(x * x for x in v.values())) or 1.0
        return {w: x / size for w, x in v.items()}

    vectors = [vector(t) for t, _, _ in train]
    found = []
    for ticket, _, _ in probe:
        v = vector(ticket)
        best = max(range(n), key=lambda k: sum(x * vectors[k].get(w, 0.0) for w, x in v.items()))
        found.append(train[best])
    return found


def bayes(train, probe):
    counts, totals = {t: Counter() for t in TEAMS}, Counter()
    for ticket, team, _ in train:
        counts[team].update(bag(ticket))
        totals[team] += 1
    vocabulary = set().union(*counts.values())
    size = {t: sum(c.values()) for t, c in counts.items()}
    answers = []
    for ticket, _, _ in probe:
        known = bag(ticket) & vocabulary
        answers.append(max(TEAMS, key=lambda t: math.log(totals[t]) + sum(
            math.log((counts[t][w] + 0.3) / (size[t] + 0.3 * len(vocabulary))) for w in known)))
    return answers


def check(verbose):
    rows, golden = read(OUT), read(GOLDEN)
    n, g = len(rows), len(golden)
    per_team = Counter(t for _, t, _ in rows)
    print("rows                        %d" % n)
    print("rows per team               " + ", ".join("%s %d" % (t, per_team[t]) for t in TEAMS))
    print("distinct subjects           %.1f %%" % (100 * len({s.lower() for _, _, s in rows}) / n))
    print("subject shares a word       %.1f %%" % (100 * sum(bool(content(t) & content(s)) for t, _, s in rows) / n))
    covered = [len(content(s) & content(t)) / max(1, len(content(s))) for t, _, s in rows]
    print("subject words from ticket   %.1f %%" % (100 * sum(covered) / n))
    print("golden shares a word        %.1f %%" % (100 * sum(bool(content(t) & content(s)) for t, _, s in golden) / g))
    lengths = sorted(len(t.split()) for t, _, _ in rows)
    print("ticket words                %d to %d, middle %d" % (lengths[0], lengths[-1], lengths[n // 2]))
    train_bags, golden_bags = [bag(t) for t, _, _ in rows], [bag(t) for t, _, _ in golden]
    print("max Jaccard golden/train    %.2f" % max(jaccard(a, b) for a in golden_bags for b in train_bags))
    near = nearest(rows, golden)
    print("nearest neighbour, team     %.0f %%" % (100 * sum(a[1] == b[1] for a, b in zip(near, golden)) / g))
    print("nearest neighbour, subject  %.0f %% share a word with the ticket" % (
        100 * sum(bool(content(a[2]) & content(b[0])) for a, b in zip(near, golden)) / g))
    guess = bayes(rows, golden)
    print("naive Bayes, team           %.0f %%" % (100 * sum(a == b[1] for a, b in zip(guess, golden)) / g))
    hand = read(HAND)
    made = [r for r in rows if r not in set(hand)]
    print("naive Bayes, hand.jsonl from the other rows  %.0f %%" % (
        100 * sum(a == b[1] for a, b in zip(bayes(made, hand), hand)) / len(hand)))
    if verbose:
        for (ticket, team, subject), got in zip(golden, guess):
            if got != team:
                print("  golden, Bayes says %s: %s | %s" % (got, team, ticket))
        for (ticket, team, subject), got in zip(hand, bayes(made, hand)):
            if got != team:
                print("  hand, Bayes says %s: %s | %s" % (got, team, ticket))


# ---------------------------------------------------------------- hand.jsonl as held-out rows


def split(folder):
    """hand.jsonl as a golden set and all other rows to train on: settings are chosen on these."""
    hand = set(HAND.read_text(encoding="ascii").splitlines())
    rows = OUT.read_text(encoding="ascii").splitlines()
    golden = folder / "hand"
    golden.mkdir(parents=True, exist_ok=True)
    rest = [row for row in rows if row not in hand]
    (folder / "rest.jsonl").write_text("".join(r + "\n" for r in rest), encoding="ascii")
    (golden / "rows.jsonl").write_bytes(HAND.read_bytes())
    (golden / "set.json").write_bytes((GOLDEN.parent / "set.json").read_bytes())
    print("%d rows to train on, %d held-out rows in %s" % (len(rest), len(hand), folder))


if __name__ == "__main__":
    if "--check" in sys.argv[1:]:
        check("-v" in sys.argv[1:])
    elif sys.argv[1:2] == ["--split"] and len(sys.argv) == 3:
        split(Path(sys.argv[2]))
    elif sys.argv[1:]:
        print("usage: make_rows.py [--check [-v] | --split FOLDER]", file=sys.stderr)
        sys.exit(2)
    else:
        make()
